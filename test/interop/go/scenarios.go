package main

import (
	"errors"
	"strings"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	amount               = 30
	retryIntervalSeconds = 1
)

// run is one scenario being run.
type run struct {
	driver *driver
	Command
	gid string
	// What the client's own call ended in: "success", "failure" (of the transaction), or the error.
	clientSaw string
}

var scenarios = map[string]func(*run) error{
	"saga-success":       func(r *run) error { return r.saga(sagaShape{}) },
	"saga-rollback":      func(r *run) error { return r.saga(sagaShape{refuses: "in"}) },
	"saga-concurrent":    func(r *run) error { return r.saga(sagaShape{concurrent: true}) },
	"saga-redis":         func(r *run) error { return r.saga(sagaShape{prefix: "redis-"}) },
	"tcc-confirm":        func(r *run) error { return r.tcc("try", "") },
	"tcc-cancel":         func(r *run) error { return r.tcc("try", "in") },
	"tcc-nested":         func(r *run) error { return r.tcc("nested", "") },
	"msg":                func(r *run) error { return r.msg(msgShape{}) },
	"msg-local-failure":  func(r *run) error { return r.msg(msgShape{fails: true}) },
	"topic":              (*run).topic,
	"xa-commit":          func(r *run) error { return r.xa("") },
	"xa-rollback":        func(r *run) error { return r.xa("in") },
	"workflow":           func(r *run) error { return r.workflow("transfer", "") },
	"workflow-rollback":  func(r *run) error { return r.workflow("transfer", "in") },
	"workflow-xa":        func(r *run) error { return r.workflow("transfer-xa", "") },
	"workflow-interrupt": func(r *run) error { return r.workflow("transfer", "") },
}

func (r *run) overGrpc() bool { return r.Protocol == "grpc" }

// dtm is the server's address in the form that the client of this protocol wants.
func (r *run) dtm() string {
	switch r.Protocol {
	case "grpc":
		return r.GrpcURL
	case "json-rpc":
		return r.HTTPURL + "/api/json-rpc"
	default:
		return r.HTTPURL + "/api/dtmsvr"
	}
}

// begin takes a gid from the server, and lets the participants know of the transaction.
func (r *run) begin() {
	if r.overGrpc() {
		r.gid = dtmgrpc.MustGenGid(r.GrpcURL)
	} else {
		r.gid = dtmcli.MustGenGid(r.HTTPURL + "/api/dtmsvr")
	}
	d := r.driver
	d.mu.Lock()
	d.watchOf(r.gid).command = r.Command
	d.mu.Unlock()
}

// apply sets the options that every scenario wants. A disturbed transaction is not waited for:
// the answer would be the unknown state of the first attempt.
func (r *run) apply(base *dtmimp.TransBase) {
	base.RetryInterval = retryIntervalSeconds
	base.TimeoutToFail = r.TimeoutSeconds
	base.WaitResult = r.PauseAt == "" && r.LoseAnswerOf == ""
	if r.Protocol == "json-rpc" {
		base.Protocol = dtmimp.Jrpc
	}
}

// ended turns the error of the client's call into what an application would conclude.
func (r *run) ended(err error) error {
	code := status.Code(err)
	switch {
	case err == nil:
		r.clientSaw = "success"
	case errors.Is(err, dtmcli.ErrFailure), strings.Contains(err.Error(), dtmcli.ResultFailure),
		code == codes.Aborted, strings.Contains(err.Error(), "-32901"):
		r.clientSaw = "failure"
	default:
		r.clientSaw = err.Error()
	}
	return nil
}

func (r *run) pauseHere() {
	if r.PauseAt == "client" {
		r.driver.pause(r.ID)
	}
}

func (r *run) body() Body { return Body{Cell: r.ID, Amount: amount} }

// url of a participant, over the protocol of the scenario.
func (r *run) url(op string, side string) string {
	switch r.Protocol {
	case "grpc":
		return r.driver.grpcURL(op, side)
	case "json-rpc":
		return r.driver.services.HTTP + "/jrpc?method=" + op + "-" + side
	default:
		return r.httpURL(op, side)
	}
}

func (r *run) httpURL(op string, side string) string {
	return r.driver.services.HTTP + "/" + side + "/" + op
}

type sagaShape struct {
	refuses    string
	concurrent bool
	prefix     string
}

func (r *run) saga(shape sagaShape) error {
	r.begin()
	body := r.body()
	body.Refuses = shape.refuses
	body.Meets = shape.concurrent
	out, in := shape.prefix+"out", shape.prefix+"in"
	if r.overGrpc() {
		saga := dtmgrpc.NewSagaGrpc(r.dtm(), r.gid).
			Add(r.url("action", out), r.url("compensate", out), asGrpc(body)).
			Add(r.url("action", in), r.url("compensate", in), asGrpc(body))
		r.apply(&saga.TransBase)
		if shape.concurrent {
			saga.EnableConcurrent()
		}
		return r.ended(saga.Submit())
	}
	saga := dtmcli.NewSaga(r.dtm(), r.gid).
		Add(r.url("action", out), r.url("compensate", out), body).
		Add(r.url("action", in), r.url("compensate", in), body)
	r.apply(&saga.TransBase)
	if shape.concurrent {
		saga.SetConcurrent()
	}
	return r.ended(saga.Submit())
}
