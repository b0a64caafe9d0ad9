package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/client/workflow"
	"github.com/go-resty/resty/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// The client library keeps one server address and one protocol per process.
var workflowServer struct {
	sync.Mutex
	address string
}

func registerWorkflows(d *driver) {
	custom := func(wf *workflow.Workflow) { wf.RetryInterval = retryIntervalSeconds }
	dtmimp.E2P(workflow.Register2("transfer", d.transfer, custom))
	dtmimp.E2P(workflow.Register2("transfer-tcc", d.transferTcc, custom))
	dtmimp.E2P(workflow.Register2("transfer-xa", d.transferXa, custom))
}

func (r *run) useWorkflowServer() {
	workflowServer.Lock()
	defer workflowServer.Unlock()
	if workflowServer.address == r.dtm() {
		return
	}
	workflowServer.address = r.dtm()
	if r.overGrpc() {
		workflow.SetProtocolForTest(dtmimp.ProtocolGRPC)
		// The real server has the service already: only the address changes.
		workflow.InitGrpc(r.dtm(), r.driver.services.Grpc, grpc.NewServer())
	} else {
		workflow.InitHTTP(r.dtm(), r.driver.services.HTTP+"/workflow")
	}
}

func (r *run) workflow(name string, refuses string) error {
	r.useWorkflowServer()
	r.begin()
	body := r.body()
	body.Refuses = refuses
	body.Services = r.driver.services
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	result, err := workflow.Execute2(name, r.gid, data)
	if err == nil && string(result) != "receipt of "+r.ID {
		return fmt.Errorf("the workflow's result is %q", result)
	}
	_ = r.ended(err)
	if err != nil && !errors.Is(err, dtmcli.ErrFailure) {
		return nil
	}
	// A repeat does not run: it returns the stored result, or the stored failure.
	again, repeated := workflow.Execute2(name, r.gid, data)
	if string(again) != string(result) || (err == nil) != (repeated == nil) ||
		(err != nil && !errors.Is(repeated, dtmcli.ErrFailure)) {
		return fmt.Errorf("the repeated workflow's result is %q, error %v; it was %q, %v", again, repeated, result, err)
	}
	return nil
}

// transfer is the workflow itself: it must run the same when it is resumed in another process.
func (d *driver) transfer(wf *workflow.Workflow, data []byte) ([]byte, error) {
	var body Body
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, err
	}
	call := d.callHTTP
	if wf.Protocol == dtmimp.ProtocolGRPC {
		call = d.callGrpc
	}
	wf.NewBranch().OnRollback(func(*dtmcli.BranchBarrier) error {
		return call(wf, "compensate", "out", body)
	})
	if err := call(wf, "action", "out", body); err != nil {
		return nil, err
	}
	if d.config.DiesAt == "mid-workflow" {
		d.emit(map[string]any{"kind": "dying", "id": body.Cell, "gid": wf.Gid})
		d.dies()
	}
	wf.NewBranch().OnRollback(func(*dtmcli.BranchBarrier) error {
		return call(wf, "compensate", "in", body)
	})
	if err := call(wf, "action", "in", body); err != nil {
		return nil, err
	}
	return wf.NewBranch().Do(func(*dtmcli.BranchBarrier) ([]byte, error) {
		return []byte("receipt of " + body.Cell), nil
	})
}

// transferTcc holds both sides by a try, and confirms or cancels them when the workflow has decided.
func (d *driver) transferTcc(wf *workflow.Workflow, data []byte) ([]byte, error) {
	var body Body
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, err
	}
	call := d.callHTTP
	if wf.Protocol == dtmimp.ProtocolGRPC {
		call = d.callGrpc
	}
	for _, side := range []string{"out", "in"} {
		wf.NewBranch().OnCommit(func(*dtmcli.BranchBarrier) error {
			return call(wf, "confirm", side, body)
		}).OnRollback(func(*dtmcli.BranchBarrier) error {
			return call(wf, "cancel", side, body)
		})
		if err := call(wf, "try", side, body); err != nil {
			return nil, err
		}
	}
	return []byte("receipt of " + body.Cell), nil
}

func (d *driver) callHTTP(wf *workflow.Workflow, op string, side string, body Body) error {
	var response *resty.Response
	response, err := wf.NewRequest().SetBody(body).Post(d.services.HTTP + "/" + side + "/" + op)
	if err == nil && response.StatusCode() != 200 {
		err = fmt.Errorf("%s of %s: %s", op, side, response.Status())
	}
	return err
}

var workflowConnections sync.Map

func (d *driver) callGrpc(wf *workflow.Workflow, op string, side string, body Body) error {
	connection, known := workflowConnections.Load(d.services.Grpc)
	if !known {
		opened, err := grpc.Dial(d.services.Grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithUnaryInterceptor(workflow.Interceptor))
		if err != nil {
			return err
		}
		connection, _ = workflowConnections.LoadOrStore(d.services.Grpc, opened)
	}
	method := "/" + grpcService + "/" + op + "-" + side
	return connection.(*grpc.ClientConn).Invoke(wf.Context, method, asGrpc(body), &emptypb.Empty{})
}

// transferXa holds both sides in local XA transactions until the workflow has decided.
func (d *driver) transferXa(wf *workflow.Workflow, data []byte) ([]byte, error) {
	var body Body
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, err
	}
	for _, side := range []string{"out", "in"} {
		_, conf, err := d.bank.db(side)
		if err != nil {
			return nil, err
		}
		if _, err := wf.NewBranch().DoXa(conf, func(db *sql.DB) ([]byte, error) {
			return nil, move(db, conf.Driver, side, "action", body)
		}); err != nil {
			return nil, err
		}
	}
	return []byte("receipt of " + body.Cell), context.Cause(wf.Context)
}
