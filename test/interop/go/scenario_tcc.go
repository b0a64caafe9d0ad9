package main

import (
	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

// tcc moves money by two branches; with tryOp "nested" the first try starts the second branch itself.
func (r *run) tcc(tryOp string, refuses string) error {
	r.begin()
	body := r.body()
	body.Refuses = refuses
	nested := tryOp == "nested"
	if r.overGrpc() {
		return r.ended(dtmgrpc.TccGlobalTransaction2(r.dtm(), r.gid, func(tcc *dtmgrpc.TccGrpc) {
			r.apply(&tcc.TransBase)
		}, func(tcc *dtmgrpc.TccGrpc) error {
			err := tcc.CallBranch(asGrpc(body), r.url(tryOp, "out"), r.url("confirm", "out"),
				r.url("cancel", "out"), &emptypb.Empty{})
			if err == nil && !nested {
				err = tcc.CallBranch(asGrpc(body), r.url("try", "in"), r.url("confirm", "in"),
					r.url("cancel", "in"), &emptypb.Empty{})
			}
			r.diesIf("after-try")
			r.pauseHere()
			return err
		}))
	}
	// A try is plain HTTP even where the server is spoken to in JSON-RPC.
	return r.ended(dtmcli.TccGlobalTransaction2(r.dtm(), r.gid, func(tcc *dtmcli.Tcc) {
		r.apply(&tcc.TransBase)
	}, func(tcc *dtmcli.Tcc) (*resty.Response, error) {
		response, err := tcc.CallBranch(body, r.httpURL(tryOp, "out"), r.url("confirm", "out"), r.url("cancel", "out"))
		if err == nil && !nested {
			response, err = tcc.CallBranch(body, r.httpURL("try", "in"), r.url("confirm", "in"), r.url("cancel", "in"))
		}
		r.diesIf("after-try")
		r.pauseHere()
		return response, err
	}))
}
