package main

import (
	"errors"
	"math"
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
	"saga-success":      func(r *run) error { return r.saga(sagaShape{}) },
	"saga-rollback":     func(r *run) error { return r.saga(sagaShape{refuses: "in"}) },
	"saga-concurrent":   func(r *run) error { return r.saga(sagaShape{concurrent: true}) },
	"saga-redis":        func(r *run) error { return r.saga(sagaShape{prefix: "redis-"}) },
	"saga-orders":       func(r *run) error { return r.saga(sagaShape{concurrent: true, ordered: true}) },
	"saga-repeated":     func(r *run) error { return r.saga(sagaShape{submits: 3}) },
	"saga-ongoing":      func(r *run) error { return r.saga(sagaShape{ongoingTimes: 1}) },
	"saga-timeout":      func(r *run) error { return r.saga(sagaShape{ongoingTimes: math.MaxInt32}) },
	"saga-retry-limit":  func(r *run) error { return r.saga(sagaShape{breaks: "in", retryLimit: 1}) },
	"saga-headers":      func(r *run) error { return r.saga(sagaShape{headers: true}) },
	"saga-mixed":        func(r *run) error { return r.saga(sagaShape{mixed: true}) },
	"tcc-confirm":       func(r *run) error { return r.tcc("try", "") },
	"tcc-cancel":        func(r *run) error { return r.tcc("try", "in") },
	"tcc-nested":        func(r *run) error { return r.tcc("nested", "") },
	"msg":               func(r *run) error { return r.msg(msgShape{}) },
	"msg-local-failure": func(r *run) error { return r.msg(msgShape{fails: true}) },
	"msg-redis":         (*run).msgFromRedis,
	"msg-delay":         (*run).msgDelayed,
	"msg-concurrent":    (*run).msgConcurrent,
	"topic":             (*run).topic,
	"xa-commit":         func(r *run) error { return r.xa("") },
	"xa-rollback":       func(r *run) error { return r.xa("in") },
	"workflow":          func(r *run) error { return r.workflow("transfer", "") },
	"workflow-rollback": func(r *run) error { return r.workflow("transfer", "in") },
	"workflow-xa":       func(r *run) error { return r.workflow("transfer-xa", "") },
	"workflow-tcc":      func(r *run) error { return r.workflow("transfer-tcc", "") },
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
	base.WaitResult = !r.NoWait && r.LoseAnswerOf == "" && (r.PauseAt == "" || r.Again != nil)
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

// again sends the client to the other node, if it has one.
func (r *run) again() bool {
	if r.Again == nil {
		return false
	}
	r.HTTPURL, r.GrpcURL, r.Again = r.Again.HTTPURL, r.Again.GrpcURL, nil
	return true
}

type sagaShape struct {
	refuses    string
	concurrent bool
	prefix     string
	// With concurrent: the second step waits for the first.
	ordered bool
	// How often it is submitted; 0 is once.
	submits      int
	ongoingTimes int
	breaks       string
	retryLimit   int64
	headers      bool
	// The second step is plain HTTP.
	mixed bool
}

func (r *run) saga(shape sagaShape) error {
	r.begin()
	body := r.body()
	body.Refuses = shape.refuses
	body.Meets = shape.concurrent && !shape.ordered
	body.Ordered = shape.ordered
	body.Breaks = shape.breaks
	body.WantsHeader = shape.headers
	if shape.ongoingTimes > 0 {
		body.Ongoing, body.OngoingTimes = "in", shape.ongoingTimes
	}
	err := r.submitSaga(shape, body)
	for i := 1; i < shape.submits && err == nil; i++ {
		err = r.submitSaga(shape, body)
	}
	if err != nil && r.again() {
		err = r.submitSaga(shape, body)
	}
	return r.ended(err)
}

func (r *run) submitSaga(shape sagaShape, body Body) error {
	out, in := shape.prefix+"out", shape.prefix+"in"
	inURL := r.url
	if shape.mixed {
		inURL = r.httpURL
	}
	options := func(base *dtmimp.TransBase) {
		r.apply(base)
		base.RetryLimit = shape.retryLimit
		if shape.headers {
			base.BranchHeaders = map[string]string{headerName: body.Cell}
		}
	}
	if r.overGrpc() {
		saga := dtmgrpc.NewSagaGrpc(r.dtm(), r.gid).
			Add(r.url("action", out), r.url("compensate", out), asGrpc(body)).
			Add(inURL("action", in), inURL("compensate", in), asGrpc(body))
		options(&saga.TransBase)
		if shape.concurrent {
			saga.EnableConcurrent()
		}
		if shape.ordered {
			saga.AddBranchOrder(1, []int{0})
		}
		return saga.Submit()
	}
	saga := dtmcli.NewSaga(r.dtm(), r.gid).
		Add(r.url("action", out), r.url("compensate", out), body).
		Add(inURL("action", in), inURL("compensate", in), body)
	options(&saga.TransBase)
	if shape.concurrent {
		saga.SetConcurrent()
	}
	if shape.ordered {
		saga.AddBranchOrder(1, []int{0})
	}
	return saga.Submit()
}
