package main

import (
	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/go-resty/resty/v2"
	"google.golang.org/protobuf/types/known/emptypb"
)

func (r *run) xa(refuses string) error {
	r.begin()
	body := r.body()
	body.Refuses = refuses
	if r.overGrpc() {
		return r.ended(dtmgrpc.XaGlobalTransaction2(r.dtm(), r.gid, func(xa *dtmgrpc.XaGrpc) {
			r.apply(&xa.TransBase)
		}, func(xa *dtmgrpc.XaGrpc) error {
			err := xa.CallBranch(asGrpc(body), r.url("xa", "out"), &emptypb.Empty{})
			r.diesIf("after-branch")
			if err == nil {
				err = xa.CallBranch(asGrpc(body), r.url("xa", "in"), &emptypb.Empty{})
			}
			r.pauseHere()
			return err
		}))
	}
	return r.ended(dtmcli.XaGlobalTransaction2(r.dtm(), r.gid, func(xa *dtmcli.Xa) {
		r.apply(&xa.TransBase)
	}, func(xa *dtmcli.Xa) (*resty.Response, error) {
		response, err := xa.CallBranch(body, r.httpURL("xa", "out"))
		r.diesIf("after-branch")
		if err == nil {
			response, err = xa.CallBranch(body, r.httpURL("xa", "in"))
		}
		r.pauseHere()
		return response, err
	}))
}
