package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

const holdMax = 30 * time.Second

// Address is how a database is reached.
type Address struct {
	Host     string `json:"host"`
	Port     int64  `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
}

// Databases that the participants may use; a missing one is nil.
type Databases struct {
	Mariadb  *Address `json:"mariadb"`
	Postgres *Address `json:"postgres"`
	Redis    *Address `json:"redis"`
}

// Services are the addresses of participants.
type Services struct {
	HTTP string `json:"http"`
	Grpc string `json:"grpc"`
}

// Config is the one argument of the process.
type Config struct {
	Databases Databases `json:"databases"`
	// Services of another process: this one is a client only.
	Services *Services `json:"services"`
	// Where the client of this process dies: "before-commit", "after-commit", "mid-workflow".
	DiesAt string `json:"diesAt"`
}

// Command is one line from the runner: a scenario to run, or a pause to end.
type Command struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Protocol string `json:"protocol"`
	HTTPURL  string `json:"httpUrl"`
	GrpcURL  string `json:"grpcAddress"`
	// "client", or op@side: the participant stops after its local commit, before it answers.
	PauseAt string `json:"pauseAt"`
	// The first answer of this op@side is held back until another call of it has been answered.
	HoldAt string `json:"holdAt"`
	// The first answer of this op@side is lost after its local commit.
	LoseAnswerOf string `json:"loseAnswerOf"`
	// The transaction's timeout_to_fail, if it is to have one.
	TimeoutSeconds int64 `json:"timeoutSeconds"`
	// The client asks for no wait_result.
	NoWait bool `json:"noWait"`
	// Another node, where a call that this one did not answer is repeated.
	Again *struct {
		HTTPURL string `json:"httpUrl"`
		GrpcURL string `json:"grpcAddress"`
	} `json:"again"`
	Continue bool `json:"continue"`
	// Asks for the calls that participants got for this gid.
	CallsOf string `json:"callsOf"`
}

type driver struct {
	config   Config
	out      *os.File
	bank     *bank
	services *Services

	mu       sync.Mutex
	pauses   map[string]chan struct{} // by command id
	watches  map[string]*watch        // by gid
	meetings map[string]*meeting      // by gid
}

// watch is what participants must know of one transaction.
type watch struct {
	command Command
	paused  bool
	lost    bool
	calls   map[string]int
	done    map[string]bool
	// Closed when the call that HoldAt waits for has been answered.
	overtaken chan struct{}
	released  bool
}

func newDriver(config Config, out *os.File) *driver {
	return &driver{
		config:   config,
		out:      out,
		pauses:   map[string]chan struct{}{},
		watches:  map[string]*watch{},
		meetings: map[string]*meeting{},
	}
}

func (d *driver) emit(line map[string]any) {
	bytes, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	if _, err := d.out.Write(append(bytes, '\n')); err != nil {
		os.Exit(1)
	}
}

func (d *driver) accept(command Command) {
	switch {
	case command.Continue:
		d.mu.Lock()
		waiting := d.pauses[command.ID]
		delete(d.pauses, command.ID)
		d.mu.Unlock()
		if waiting != nil {
			close(waiting)
		}
	case command.CallsOf != "":
		d.mu.Lock()
		calls := map[string]int{}
		for at, count := range d.watchOf(command.CallsOf).calls {
			calls[at] = count
		}
		d.mu.Unlock()
		d.emit(map[string]any{"kind": "calls", "id": command.ID, "calls": calls})
	default:
		go d.run(command)
	}
}

func (d *driver) run(command Command) {
	scenario, known := scenarios[command.Scenario]
	line := map[string]any{"kind": "result", "id": command.ID}
	r := &run{driver: d, Command: command}
	if !known {
		line["error"] = "no such scenario: " + command.Scenario
		d.emit(line)
		return
	}
	err := func() (err error) {
		defer func() {
			if x := recover(); x != nil {
				err = fmt.Errorf("panic: %v", x)
			}
		}()
		return scenario(r)
	}()
	line["gid"] = r.gid
	line["clientSaw"] = r.clientSaw
	if err != nil {
		line["error"] = err.Error()
	}
	d.emit(line)
}

func (d *driver) watchOf(gid string) *watch {
	w := d.watches[gid]
	if w == nil {
		w = &watch{calls: map[string]int{}, done: map[string]bool{}, overtaken: make(chan struct{})}
		d.watches[gid] = w
	}
	return w
}

func (d *driver) pause(id string) {
	waiting := make(chan struct{})
	d.mu.Lock()
	d.pauses[id] = waiting
	d.mu.Unlock()
	d.emit(map[string]any{"kind": "pause", "id": id})
	<-waiting
}

// arrives counts a call of a participant, and says which call of this kind it is.
func (d *driver) arrives(gid string, at string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.watchOf(gid).calls
	calls[at]++
	return calls[at]
}

func (d *driver) isDone(gid string, at string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watchOf(gid).done[at]
}

// leaves is asked before a successful answer: it may pause, or demand that the answer be lost.
func (d *driver) leaves(gid string, at string) (lost bool) {
	d.mu.Lock()
	w := d.watchOf(gid)
	pause := w.command.PauseAt == at && !w.paused
	lost = w.command.LoseAnswerOf == at && !w.lost
	w.paused = w.paused || pause
	w.lost = w.lost || lost
	hold := w.command.HoldAt == at && !w.done[at]
	if w.command.HoldAt == at && w.done[at] && !w.released {
		w.released = true
		close(w.overtaken)
	}
	w.done[at] = true
	id := w.command.ID
	d.mu.Unlock()
	if pause {
		d.pause(id)
	}
	if hold {
		select {
		case <-w.overtaken:
		case <-time.After(holdMax):
			return true
		}
	}
	return lost
}

// meeting lets two concurrent branches wait for each other.
type meeting struct {
	arrived int
	all     chan struct{}
}

func (d *driver) meet(gid string) *meeting {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.meetings[gid]
	if m == nil {
		m = &meeting{all: make(chan struct{})}
		d.meetings[gid] = m
	}
	m.arrived++
	if m.arrived == 2 {
		close(m.all)
	}
	return m
}
