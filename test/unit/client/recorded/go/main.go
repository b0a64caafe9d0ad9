// Records what dtm's own Go client stores of a workflow, byte by byte, and what it makes of the stored
// bytes when it replays them. The server and the services are stand-ins that live in this process.
//
//	go run . > ../go-workflow.json
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"github.com/dtm-labs/dtm/client/workflow"
	"github.com/dtm-labs/logger"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Step is one registerBranch: over HTTP its JSON body, over gRPC its message in base64.
type Step struct {
	BranchID string `json:"branchId"`
	Op       string `json:"op"`
	Status   string `json:"status"`
	Data     string `json:"dataBase64"`
	Message  string `json:"message,omitempty"`
}

// Execution is everything that one execution of the workflow sent, and what its function saw.
type Execution struct {
	Prepare string            `json:"prepare"`
	Steps   []Step            `json:"steps"`
	Submit  map[string]string `json:"submit"`
	Seen    []string          `json:"seen"`
	Result  string            `json:"result"`
	Error   string            `json:"error"`
}

var current *Execution
var stored []Step
var serviceCalls int

func sent(step Step) { current.Steps = append(current.Steps, step) }

func dtmOverHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case strings.HasSuffix(r.URL.Path, "/prepareWorkflow"):
		current.Prepare = string(body)
		progresses := []map[string]string{}
		for _, s := range stored {
			progresses = append(progresses, map[string]string{
				"branch_id": s.BranchID, "op": s.Op, "status": s.Status, "bin_data": s.Data})
		}
		reply := map[string]any{"progresses": progresses, "transaction": map[string]any{"status": "prepared"}}
		_ = json.NewEncoder(w).Encode(reply)
		return
	case strings.HasSuffix(r.URL.Path, "/registerBranch"):
		fields := map[string]string{}
		dtmimp.MustUnmarshal(body, &fields)
		data := base64.StdEncoding.EncodeToString([]byte(fields["data"]))
		sent(Step{fields["branch_id"], fields["op"], fields["status"], data, string(body)})
	case strings.HasSuffix(r.URL.Path, "/submit"):
		var request struct {
			Extra map[string]string `json:"req_extra"`
		}
		dtmimp.MustUnmarshal(body, &request)
		current.Submit = request.Extra
	}
	_, _ = w.Write([]byte(`{"dtm_result":"SUCCESS"}`))
}

type dtmOverGrpc struct{ dtmgpb.UnimplementedDtmServer }

func (dtmOverGrpc) PrepareWorkflow(_ context.Context, r *dtmgpb.DtmRequest) (*dtmgpb.DtmProgressesReply, error) {
	current.Prepare = encoded(r)
	reply := &dtmgpb.DtmProgressesReply{Transaction: &dtmgpb.DtmTransaction{Gid: r.Gid, Status: "prepared"}}
	for _, s := range stored {
		data, _ := base64.StdEncoding.DecodeString(s.Data)
		reply.Progresses = append(reply.Progresses,
			&dtmgpb.DtmProgress{Status: s.Status, BinData: data, BranchID: s.BranchID, Op: s.Op})
	}
	return reply, nil
}

func (dtmOverGrpc) RegisterBranch(_ context.Context, r *dtmgpb.DtmBranchRequest) (*emptypb.Empty, error) {
	sent(Step{r.BranchID, r.Data["op"], r.Data["status"],
		base64.StdEncoding.EncodeToString(r.BusiPayload), encoded(r)})
	return &emptypb.Empty{}, nil
}

func (dtmOverGrpc) Submit(_ context.Context, r *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	current.Submit = r.ReqExtra
	return &emptypb.Empty{}, nil
}

func encoded(message proto.Message) string {
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	dtmimp.E2P(err)
	return base64.StdEncoding.EncodeToString(bytes)
}

// The services: an answer that says something, an empty one, and a refusal, over either protocol.
func serviceOverHTTP(w http.ResponseWriter, r *http.Request) {
	serviceCalls++
	switch r.URL.Path {
	case "/pay":
		_, _ = w.Write([]byte(`{"paid": 30, "name": "Zoë"}`))
	case "/refuse":
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"message":"no stock FAILURE"}`))
	}
}

func serviceOverGrpc(_ any, stream grpc.ServerStream) error {
	serviceCalls++
	method, _ := grpc.MethodFromServerStream(stream)
	var request wrapperspb.StringValue
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if strings.HasSuffix(method, "/Refuse") {
		return status.Error(codes.Aborted, "no credit")
	}
	return stream.SendMsg(wrapperspb.String("paid by " + request.Value))
}

func seen(text string, err error) {
	if err != nil {
		text = "error: " + err.Error()
	}
	current.Seen = append(current.Seen, text)
}

func main() {
	logger.InitLog("fatal")
	dtm := httptest.NewServer(http.HandlerFunc(dtmOverHTTP))
	service := httptest.NewServer(http.HandlerFunc(serviceOverHTTP))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	dtmimp.E2P(err)
	server := grpc.NewServer(grpc.UnknownServiceHandler(serviceOverGrpc))
	dtmgpb.RegisterDtmServer(server, dtmOverGrpc{})
	workflow.InitHTTP(dtm.URL+"/api/dtmsvr", "http://callback/resume")
	workflow.InitGrpc(listener.Addr().String(), "callback:1", server)
	go func() { _ = server.Serve(listener) }()
	connection, err := grpc.Dial(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(workflow.Interceptor))
	dtmimp.E2P(err)

	none := func(*dtmcli.BranchBarrier) error { return nil }
	post := func(wf *workflow.Workflow, path string) {
		response, err := wf.NewRequest().SetBody(`{"amount":30}`).Post(service.URL + path)
		text := ""
		if err == nil {
			text = response.String()
		} else {
			// The address in the text is of this run alone.
			err = unwrapped(err)
		}
		seen(text, err)
	}
	invoke := func(wf *workflow.Workflow, method string) {
		var reply wrapperspb.StringValue
		err := connection.Invoke(wf.Context, "/bank.Bank/"+method, wrapperspb.String("A"), &reply)
		seen(reply.Value, err)
	}
	steps := func(wf *workflow.Workflow) {
		post(wf.NewBranch().OnCommit(none).OnRollback(none), "/pay")
		post(wf.NewBranch().OnCommit(none).OnRollback(none), "/empty")
		invoke(wf.NewBranch().OnCommit(none).OnRollback(none), "Pay")
		data, err := wf.NewBranch().OnRollback(none).Do(func(*dtmcli.BranchBarrier) ([]byte, error) {
			return []byte("a receipt"), nil
		})
		seen(string(data), err)
		data, err = wf.NewBranch().Do(func(*dtmcli.BranchBarrier) ([]byte, error) { return nil, nil })
		seen(string(data), err)
	}
	dtmimp.E2P(workflow.Register2("commits", func(wf *workflow.Workflow, data []byte) ([]byte, error) {
		steps(wf)
		return []byte("done with " + string(data)), nil
	}))
	dtmimp.E2P(workflow.Register2("rolls-back", func(wf *workflow.Workflow, data []byte) ([]byte, error) {
		steps(wf)
		post(wf.NewBranch().OnRollback(none), "/refuse")
		invoke(wf.NewBranch().OnRollback(none), "Refuse")
		_, err := wf.NewBranch().OnRollback(none).Do(func(*dtmcli.BranchBarrier) ([]byte, error) {
			return []byte("no room"), dtmcli.ErrorMessage2Error("no room", dtmcli.ErrFailure)
		})
		seen("", err)
		return nil, err
	}))

	recording := map[string]map[string]map[string]*Execution{}
	for _, protocol := range []string{dtmimp.ProtocolHTTP, dtmimp.ProtocolGRPC} {
		workflow.SetProtocolForTest(protocol)
		recording[protocol] = map[string]map[string]*Execution{}
		for _, name := range []string{"commits", "rolls-back"} {
			stored = nil
			first := execute(name)
			stored = first.Steps
			serviceCalls = 0
			replay := execute(name)
			if serviceCalls > 0 || len(replay.Steps) > 0 {
				panic("a replay did something")
			}
			recording[protocol][name] = map[string]*Execution{"first": first, "replay": replay}
		}
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	dtmimp.E2P(out.Encode(recording))
}

func execute(name string) *Execution {
	current = &Execution{Steps: []Step{}}
	result, err := workflow.ExecuteCtx(context.Background(), name, "gid-7", []byte(`{"id":1}`))
	current.Result = string(result)
	if err != nil {
		current.Error = err.Error()
	}
	return current
}

// unwrapped is what the transport of the workflow returned, without the method and address around it.
func unwrapped(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || inner.Unwrap() == nil || inner.Unwrap() == dtmcli.ErrFailure {
			return err
		}
		err = inner.Unwrap()
	}
}
