// The driver of dtm's Go client: one process that holds participants (HTTP, gRPC and JSON-RPC) and
// runs scenarios with github.com/dtm-labs/dtm/client against the server that a command names. It
// speaks the line protocol of test/interop/README.md; it decides nothing about pass or fail.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"github.com/dtm-labs/logger"
)

func main() {
	logger.InitLog("fatal")
	out := takeStdout()
	var config Config
	if err := json.Unmarshal([]byte(os.Args[1]), &config); err != nil {
		panic(err)
	}
	d := newDriver(config, out)
	d.bank = openBank(config.Databases)
	d.services = config.Services
	if d.services == nil {
		d.services = d.serve()
	}
	registerWorkflows(d)
	d.emit(map[string]any{"kind": "ready", "services": d.services})

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	for lines.Scan() {
		var command Command
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			panic(err)
		}
		d.accept(command)
	}
}

// Whatever a library prints must not mix with the protocol: it keeps the pipe, they get stderr.
func takeStdout() *os.File {
	fd, err := syscall.Dup(1)
	if err != nil {
		panic(err)
	}
	if err := syscall.Dup3(2, 1, 0); err != nil {
		panic(err)
	}
	return os.NewFile(uintptr(fd), "protocol")
}

// dies ends this process the way a crash does.
func (d *driver) dies() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(fmt.Sprintf("cannot die: %v", err))
	}
	select {}
}
