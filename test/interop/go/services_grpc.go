package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"net"
	"strings"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/client/dtmgrpc"
	"github.com/dtm-labs/dtm/client/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service needs no generated code: every method takes a StringValue (a JSON body) and answers Empty.
const grpcService = "interop.Bank"

type grpcHandler func(ctx context.Context, body []byte) error

func (d *driver) serveGrpc() string {
	description := grpc.ServiceDesc{ServiceName: grpcService, HandlerType: (*any)(nil)}
	add := func(name string, handle grpcHandler) {
		description.Methods = append(description.Methods, grpc.MethodDesc{
			MethodName: name,
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var request wrapperspb.StringValue
				if err := decode(&request); err != nil {
					return nil, err
				}
				incoming, _ := metadata.FromIncomingContext(ctx)
				err := lacksHeader([]byte(request.Value), strings.Join(incoming.Get(headerName), ","))
				if err == nil {
					err = handle(ctx, []byte(request.Value))
				}
				return &emptypb.Empty{}, dtmgrpc.DtmError2GrpcError(err)
			},
		})
	}
	for _, side := range sides {
		for _, op := range []string{"action", "compensate", "try", "confirm", "cancel"} {
			add(op+"-"+side, func(ctx context.Context, raw []byte) error {
				barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
				if err != nil {
					return err
				}
				return d.branchOf(barrier, side, op, raw)
			})
		}
		add("xa-"+side, func(ctx context.Context, raw []byte) error { return d.xaBranchGrpc(ctx, side, raw) })
	}
	add("nested-out", d.nestedTryGrpc)
	add("checkback", func(ctx context.Context, _ []byte) error { return d.checkBack(dtmgrpc.BarrierFromGrpc(ctx)) })

	add("checkback-redis", func(ctx context.Context, _ []byte) error {
		return d.checkBackInRedis(dtmgrpc.BarrierFromGrpc(ctx))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	dtmimp.E2P(err)
	server := grpc.NewServer()
	server.RegisterService(&description, struct{}{})
	workflow.InitGrpc("", listener.Addr().String(), server)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String()
}

func (d *driver) xaBranchGrpc(ctx context.Context, side string, raw []byte) error {
	_, conf, err := d.bank.db(side)
	if err != nil {
		return err
	}
	xa, err := dtmgrpc.XaGrpcFromRequest(ctx)
	if err != nil {
		return err
	}
	at := xa.Op + "@" + side
	d.arrives(xa.Gid, at)
	err = dtmgrpc.XaLocalTransaction(ctx, conf, func(db *sql.DB, _ *dtmgrpc.XaGrpc) error {
		return xaMove(db, conf, side, raw)
	})
	if err == nil && d.leaves(xa.Gid, at) {
		return errLost
	}
	return err
}

func (d *driver) nestedTryGrpc(ctx context.Context, raw []byte) error {
	tcc, err := dtmgrpc.TccFromGrpc(ctx)
	if err != nil {
		return err
	}
	barrier, err := dtmcli.BarrierFrom(tcc.TransType, tcc.Gid, tcc.BranchID, tcc.Op)
	if err != nil {
		return err
	}
	if err := d.branchOf(barrier, "out", "try", raw); err != nil {
		return err
	}
	return tcc.CallBranch(wrapperspb.String(string(raw)),
		d.grpcURL("try", "in"), d.grpcURL("confirm", "in"), d.grpcURL("cancel", "in"), &emptypb.Empty{})
}

func (d *driver) grpcURL(op string, side string) string {
	return d.services.Grpc + "/" + grpcService + "/" + op + "-" + side
}

func asGrpc(body Body) *wrapperspb.StringValue {
	bytes, err := json.Marshal(body)
	dtmimp.E2P(err)
	return wrapperspb.String(string(bytes))
}
