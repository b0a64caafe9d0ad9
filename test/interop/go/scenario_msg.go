package main

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgimp"
	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
)

// How long a prepared message waits for its submit before the server asks back.
const checkBackAfterSeconds = 2

const delaySeconds = 2

type msgShape struct {
	// The local business refuses: the message is aborted.
	fails bool
}

// msg takes the money locally, and lets the message bring it.
func (r *run) msg(shape msgShape) error {
	r.begin()
	db, _, err := r.driver.bank.db("out")
	if err != nil {
		return err
	}
	body := r.body()
	if shape.fails {
		body.Refuses = "out"
	}
	business := func(tx *sql.Tx) error {
		err := move(tx, "mysql", "out", "action", body)
		r.diesIf("before-commit")
		return err
	}
	do := func(barrier *dtmcli.BranchBarrier) error {
		err := barrier.CallWithDB(db, business)
		r.diesIf("after-commit")
		r.pauseHere()
		return err
	}
	if r.overGrpc() {
		msg := dtmgrpc.NewMsgGrpc(r.dtm(), r.gid).Add(r.url("action", "in"), asGrpc(body))
		r.apply(&msg.TransBase)
		msg.TimeoutToFail = checkBackAfterSeconds
		return r.ended(msg.DoAndSubmit(r.driver.services.Grpc+"/"+grpcService+"/checkback", do))
	}
	msg := dtmcli.NewMsg(r.dtm(), r.gid).Add(r.url("action", "in"), body)
	r.apply(&msg.TransBase)
	msg.TimeoutToFail = checkBackAfterSeconds
	return r.ended(msg.DoAndSubmit(r.driver.services.HTTP+"/checkback", do))
}

// msgFromRedis takes the money from an account in Redis, under the barrier that is kept there too.
func (r *run) msgFromRedis() error {
	r.begin()
	body := r.body()
	do := func(barrier *dtmcli.BranchBarrier) error {
		err := barrier.RedisCheckAdjustAmount(r.driver.bank.redis, body.Cell+"-redis-out", -body.Amount, barrierExpireSeconds)
		r.diesIf("after-commit")
		return err
	}
	if r.overGrpc() {
		msg := dtmgrpc.NewMsgGrpc(r.dtm(), r.gid).Add(r.url("action", "redis-in"), asGrpc(body))
		r.apply(&msg.TransBase)
		msg.TimeoutToFail = checkBackAfterSeconds
		return r.ended(msg.DoAndSubmit(r.driver.services.Grpc+"/"+grpcService+"/checkback-redis", do))
	}
	msg := dtmcli.NewMsg(r.dtm(), r.gid).Add(r.url("action", "redis-in"), body)
	r.apply(&msg.TransBase)
	msg.TimeoutToFail = checkBackAfterSeconds
	return r.ended(msg.DoAndSubmit(r.driver.services.HTTP+"/checkback-redis", do))
}

// msgDelayed is delivered when its delay is over; a call that comes earlier is refused and counted.
func (r *run) msgDelayed() error {
	r.begin()
	body := r.body()
	body.NotBefore = time.Now().Add(delaySeconds * time.Second).UnixMilli()
	if r.overGrpc() {
		msg := dtmgrpc.NewMsgGrpc(r.dtm(), r.gid)
		for _, side := range []string{"out", "in"} {
			msg.Add(r.url("action", side), asGrpc(body))
		}
		msg.SetDelay(delaySeconds)
		r.apply(&msg.TransBase)
		return r.ended(msg.Submit())
	}
	msg := r.msgOfBothSides(body)
	msg.SetDelay(delaySeconds)
	return r.ended(msg.Submit())
}

// msgConcurrent calls both branches at once; the client cannot ask for it over gRPC.
func (r *run) msgConcurrent() error {
	r.begin()
	body := r.body()
	body.Meets = true
	msg := r.msgOfBothSides(body)
	msg.Concurrent = true
	return r.ended(msg.Submit())
}

func (r *run) msgOfBothSides(body Body) *dtmcli.Msg {
	msg := dtmcli.NewMsg(r.dtm(), r.gid)
	for _, side := range []string{"out", "in"} {
		msg.Add(r.url("action", side), body)
	}
	r.apply(&msg.TransBase)
	return msg
}

func (r *run) diesIf(at string) {
	if r.driver.config.DiesAt != at {
		return
	}
	r.driver.emit(map[string]any{"kind": "dying", "id": r.ID, "gid": r.gid})
	r.driver.dies()
}

// topic sends one message to two subscribers, and finds no topic after its deletion.
func (r *run) topic() error {
	name := "topic-" + r.ID
	for _, side := range []string{"out", "in"} {
		if err := r.subscribe(name, r.url("action", side)); err != nil {
			return err
		}
	}
	r.begin()
	var err error
	if r.overGrpc() {
		msg := dtmgrpc.NewMsgGrpc(r.dtm(), r.gid).AddTopic(name, asGrpc(r.body()))
		r.apply(&msg.TransBase)
		err = msg.Submit()
	} else {
		msg := dtmcli.NewMsg(r.dtm(), r.gid).AddTopic(name, r.body())
		r.apply(&msg.TransBase)
		err = msg.Submit()
	}
	_ = r.ended(err)
	if err := r.deleteTopic(name); err != nil {
		return err
	}
	if r.overGrpc() {
		err = dtmgrpc.NewMsgGrpc(r.dtm(), r.gid+"-late").AddTopic(name, asGrpc(r.body())).Submit()
	} else {
		late := dtmcli.NewMsg(r.dtm(), r.gid+"-late").AddTopic(name, r.body())
		if r.Protocol == "json-rpc" {
			late.Protocol = "json-rpc"
		}
		err = late.Submit()
	}
	if err == nil {
		return errors.New("a message to a deleted topic was accepted")
	}
	return nil
}

func (r *run) subscribe(topic string, subscriber string) error {
	if r.overGrpc() {
		_, err := dtmgimp.MustGetDtmClient(r.GrpcURL).Subscribe(context.Background(),
			&dtmgpb.DtmTopicRequest{Topic: topic, URL: subscriber, Remark: "interop"})
		return err
	}
	query := url.Values{"topic": {topic}, "url": {subscriber}, "remark": {"interop"}}
	return r.ask(http.MethodGet, "/api/dtmsvr/subscribe?"+query.Encode())
}

func (r *run) deleteTopic(topic string) error {
	if r.overGrpc() {
		_, err := dtmgimp.MustGetDtmClient(r.GrpcURL).DeleteTopic(context.Background(),
			&dtmgpb.DtmTopicRequest{Topic: topic})
		return err
	}
	return r.ask(http.MethodDelete, "/api/dtmsvr/topic/"+topic)
}

// ask is for the routes that dtm's client has no function for.
func (r *run) ask(method string, path string) error {
	response, err := dtmcli.GetRestyClient().R().Execute(method, r.HTTPURL+path)
	if err == nil && response.StatusCode() != http.StatusOK {
		err = errors.New(path + ": " + response.Status() + " " + response.String())
	}
	return err
}
