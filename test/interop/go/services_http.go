package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/client/workflow"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var errLost = errors.New("the answer of this call is lost on purpose")

var sides = []string{"out", "in", "redis-out", "redis-in"}

func (d *driver) serve() *Services {
	mux := http.NewServeMux()
	for _, side := range sides {
		for _, op := range []string{"action", "compensate", "try", "confirm", "cancel"} {
			mux.HandleFunc("/"+side+"/"+op, d.answering(func(q url.Values, body []byte) error {
				return d.branch(q, side, op, body)
			}))
		}
		mux.HandleFunc("/"+side+"/xa", d.answering(func(q url.Values, body []byte) error {
			return d.xaBranch(q, side, body)
		}))
	}
	mux.HandleFunc("/out/nested", d.answering(d.nestedTry))
	mux.HandleFunc("/checkback", d.answering(func(q url.Values, _ []byte) error {
		return d.checkBack(dtmcli.BarrierFromQuery(q))
	}))
	mux.HandleFunc("/checkback-redis", d.answering(func(q url.Values, _ []byte) error {
		return d.checkBackInRedis(dtmcli.BarrierFromQuery(q))
	}))
	mux.HandleFunc("/workflow", d.answering(func(q url.Values, body []byte) error {
		return workflow.ExecuteByQS(q, body)
	}))
	mux.HandleFunc("/jrpc", d.jrpc)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	dtmimp.E2P(err)
	go func() { _ = http.Serve(listener, mux) }()
	return &Services{HTTP: "http://" + listener.Addr().String(), Grpc: d.serveGrpc()}
}

func (d *driver) answering(handle func(url.Values, []byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err == nil {
			err = lacksHeader(body, request.Header.Get(headerName))
		}
		if err == nil {
			err = handle(request.URL.Query(), jsonOf(body))
		}
		var result any = dtmcli.MapSuccess
		if err != nil {
			result = err
		}
		status, answer := dtmcli.Result2HttpJSON(result)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	}
}

const headerName = "x-interop"

// lacksHeader is for a transaction whose branch_headers every call must carry.
func lacksHeader(raw []byte, value string) error {
	var body Body
	if json.Unmarshal(jsonOf(raw), &body) == nil && body.WantsHeader && value != body.Cell {
		return fmt.Errorf("the header %s is %q", headerName, value)
	}
	return nil
}

// jsonOf undoes what a gRPC client made of a body that goes to an HTTP branch.
func jsonOf(raw []byte) []byte {
	var wrapped wrapperspb.StringValue
	if !json.Valid(raw) && proto.Unmarshal(raw, &wrapped) == nil {
		return []byte(wrapped.Value)
	}
	return raw
}

func (d *driver) branch(q url.Values, side string, op string, raw []byte) error {
	barrier, err := dtmcli.BarrierFromQuery(q)
	if err != nil {
		return err
	}
	return d.branchOf(barrier, side, op, raw)
}

// branchOf is one branch, whatever protocol brought it.
func (d *driver) branchOf(barrier *dtmcli.BranchBarrier, side string, op string, raw []byte) error {
	var body Body
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	at := op + "@" + side
	call := d.arrives(barrier.Gid, at)
	if op == "action" {
		if err := d.hindered(barrier.Gid, side, body, call); err != nil {
			return err
		}
	}
	if err := d.bank.underBarrier(barrier, side, op, body); err != nil {
		return err
	}
	if d.leaves(barrier.Gid, at) {
		return errLost
	}
	return nil
}

// hindered is what a scenario puts in the way of an action.
func (d *driver) hindered(gid string, side string, body Body, call int) error {
	switch {
	case body.Ongoing == side && call <= body.OngoingTimes:
		return dtmcli.ErrOngoing
	case body.Breaks == side:
		return errors.New("out of order")
	case body.Ordered && side == "in" && !d.isDone(gid, "action@out"):
		return errors.New("the action of out has not been done")
	case time.Now().UnixMilli() < body.NotBefore:
		return errors.New("too early")
	case body.Meets:
		select {
		case <-d.meet(gid).all:
		case <-time.After(2 * time.Second):
			return errors.New("the other concurrent branch did not begin")
		}
	}
	return nil
}

func (d *driver) xaBranch(q url.Values, side string, raw []byte) error {
	_, conf, err := d.bank.db(side)
	if err != nil {
		return err
	}
	at := q.Get("op") + "@" + side
	d.arrives(q.Get("gid"), at)
	err = dtmcli.XaLocalTransaction(q, conf, func(db *sql.DB, xa *dtmcli.Xa) error {
		return xaMove(db, conf, side, raw)
	})
	if err == nil && d.leaves(q.Get("gid"), at) {
		return errLost
	}
	return err
}

func xaMove(db *sql.DB, conf dtmcli.DBConf, side string, raw []byte) error {
	var body Body
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	return move(db, conf.Driver, side, "action", body)
}

// nestedTry does the try of its own side, and starts the other side as a branch of its branch.
func (d *driver) nestedTry(q url.Values, raw []byte) error {
	var body Body
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	tcc, err := dtmcli.TccFromQuery(q)
	if err != nil {
		return err
	}
	if err := d.branch(q, "out", "try", raw); err != nil {
		return err
	}
	in := d.services.HTTP + "/in/"
	_, err = tcc.CallBranch(body, in+"try", in+"confirm", in+"cancel")
	return err
}

func (d *driver) checkBack(barrier *dtmcli.BranchBarrier, err error) error {
	if err != nil {
		return err
	}
	d.arrives(barrier.Gid, "checkback")
	db, conf, err := d.bank.db("out")
	if err != nil {
		return err
	}
	barrier.DBType = conf.Driver
	return barrier.QueryPrepared(db)
}

func (d *driver) checkBackInRedis(barrier *dtmcli.BranchBarrier, err error) error {
	if err != nil {
		return err
	}
	d.arrives(barrier.Gid, "checkback")
	return barrier.RedisQueryPrepared(d.bank.redis, barrierExpireSeconds)
}

// jrpc is a participant over JSON-RPC: the method is op@side, the transaction's fields are in params.
func (d *driver) jrpc(w http.ResponseWriter, request *http.Request) {
	var call struct {
		ID     any             `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	var info struct {
		Gid       string `json:"gid"`
		TransType string `json:"trans_type"`
		BranchID  string `json:"branch_id"`
		Op        string `json:"op"`
	}
	err := json.NewDecoder(request.Body).Decode(&call)
	if err == nil {
		err = lacksHeader(call.Params, request.Header.Get(headerName))
	}
	if err == nil {
		err = json.Unmarshal(call.Params, &info)
	}
	if err == nil {
		var barrier *dtmcli.BranchBarrier
		if barrier, err = dtmcli.BarrierFrom(info.TransType, info.Gid, info.BranchID, info.Op); err == nil {
			op, side, _ := strings.Cut(call.Method, "-")
			err = d.branchOf(barrier, side, op, call.Params)
		}
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": call.ID, "result": nil, "error": nil}
	switch {
	case err == nil:
		answer["result"] = map[string]any{}
	case errors.Is(err, dtmcli.ErrFailure):
		// The text must not contain the word: only the code says what this means.
		answer["error"] = map[string]any{"code": dtmimp.JrpcCodeFailure, "message": "refused"}
	case errors.Is(err, dtmcli.ErrOngoing):
		answer["error"] = map[string]any{"code": dtmimp.JrpcCodeOngoing, "message": "not yet"}
	default:
		answer["error"] = map[string]any{"code": -32603, "message": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
