"""The driver of dtm's Python client (dtmcli): participants over HTTP on MariaDB, and the scenarios
that this client can express. It speaks the line protocol of test/interop/README.md; it decides
nothing about pass or fail."""

import json
import os
import signal
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pymysql
import requests
from dtmcli import barrier, msg, saga, tcc, utils

AMOUNT = 30
RETRY_INTERVAL_SECONDS = 1
# How long a prepared message waits for its submit before the server asks back.
CHECK_BACK_AFTER_SECONDS = 2
EFFECTS = {
    "action": (1, 0),
    "compensate": (-1, 0),
    "try": (0, 1),
    "confirm": (1, -1),
    "cancel": (0, -1),
}

# The library prints: the protocol keeps the pipe, its lines go to stderr.
PROTOCOL = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

config = json.loads(sys.argv[1])
lock = threading.Lock()
pauses = {}  # command id -> threading.Event
watches = {}  # gid -> Watch
meetings = {}  # gid -> Meeting


class Ongoing(Exception):
    """A branch that asks to be called again."""


class Meeting:
    """Two concurrent branches wait for each other; whoever is called again finds both arrived."""

    def __init__(self):
        self.arrived = 0
        self.all = threading.Event()


class Watch:
    """What participants must know of one transaction."""

    def __init__(self):
        self.command = {}
        self.paused = False
        self.lost = False
        self.calls = {}
        self.done = set()


def emit(**line):
    with lock:
        PROTOCOL.write(json.dumps(line) + "\n")
        PROTOCOL.flush()


def watch_of(gid):
    return watches.setdefault(gid, Watch())


def pause(command_id):
    waiting = threading.Event()
    with lock:
        pauses[command_id] = waiting
    emit(kind="pause", id=command_id)
    waiting.wait()


def arrives(gid, at):
    with lock:
        calls = watch_of(gid).calls
        calls[at] = calls.get(at, 0) + 1
        return calls[at]


def leaves(gid, at):
    """Asked before a successful answer: may pause; true if the answer is to be lost."""
    with lock:
        watch = watch_of(gid)
        pauses_now = watch.command.get("pauseAt") == at and not watch.paused
        lost = watch.command.get("loseAnswerOf") == at and not watch.lost
        watch.paused = watch.paused or pauses_now
        watch.lost = watch.lost or lost
        watch.done.add(at)
    if pauses_now:
        pause(watch.command["id"])
    return lost


def connect():
    address = config["databases"]["mariadb"]
    return pymysql.connect(
        host=address["host"],
        port=address["port"],
        user=address["user"],
        password=address["password"],
        database=address["database"],
    )


def move(cursor, side, op, body):
    if body.get("refuses") == side and op in ("action", "try"):
        raise utils.DTMFailureError("FAILURE")
    amount = -body["amount"] if side == "out" else body["amount"]
    balance, trading = EFFECTS[op]
    cursor.execute(
        "update assent_bank.account set balance = balance + %s, trading = trading + %s where id = %s",
        (balance * amount, trading * amount, body["cell"] + "-" + side),
    )
    cursor.execute(
        "insert into assent_bank.ledger (cell, side, op) values (%s, %s, %s)",
        (body["cell"], side, op),
    )


def under_barrier(query, side, op, body):
    connection = connect()
    try:
        branch = barrier.BranchBarrier(
            query["trans_type"], query["gid"], query["branch_id"], query["op"]
        )
        branch.call(connection.cursor(), lambda cursor: move(cursor, side, op, body))
    finally:
        connection.close()


def hinder(gid, side, body, call):
    """What a scenario puts in the way of an action."""
    if body.get("ongoing") == side and call <= body["ongoingTimes"]:
        raise Ongoing()
    if body.get("ordered") and side == "in":
        with lock:
            done = "action@out" in watch_of(gid).done
        if not done:
            raise RuntimeError("the action of out has not been done")
    if body.get("meets"):
        with lock:
            meeting = meetings.setdefault(gid, Meeting())
            meeting.arrived += 1
            if meeting.arrived == 2:
                meeting.all.set()
        if not meeting.all.wait(timeout=2):
            raise RuntimeError("the other concurrent branch did not begin")


def branch(query, side, op, body):
    gid, at = query["gid"], op + "@" + side
    call = arrives(gid, at)
    if op == "action":
        hinder(gid, side, body, call)
    if op == "nested":
        under_barrier(query, side, "try", body)
        base = "%s/in/" % config["services"]["http"]
        tcc.tcc_from_req(body["dtm"], gid, query["branch_id"]).call_branch(
            dict(body), base + "try", base + "confirm", base + "cancel"
        )
    else:
        under_barrier(query, side, op, body)
    if leaves(gid, at):
        raise RuntimeError("the answer of this call is lost on purpose")


def check_back(query):
    arrives(query["gid"], "checkback")
    connection = connect()
    try:
        barrier.BranchBarrier(
            query["trans_type"], query["gid"], query["branch_id"], query["op"]
        ).query_prepared(connection.cursor())
    finally:
        connection.close()


class Participant(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            if url.path == "/checkback":
                check_back(query)
            else:
                _, side, op = url.path.split("/")
                body = json.loads(raw)
                if body.get("wantsHeader") and self.headers.get("x-interop") != body["cell"]:
                    raise RuntimeError("the header x-interop is missing")
                branch(query, side, op, body)
            self.answer(200, {"dtm_result": "SUCCESS"})
        except utils.DTMFailureError:
            self.answer(409, {"dtm_result": "FAILURE"})
        except Ongoing:
            self.answer(425, {"dtm_result": "ONGOING"})
        except Exception as error:
            self.answer(500, {"error": str(error)})

    do_GET = do_POST

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Run:
    def __init__(self, command):
        self.command = command
        self.id = command["id"]
        self.dtm = command["httpUrl"] + "/api/dtmsvr"
        self.gid = None
        self.body = {"cell": self.id, "amount": AMOUNT, "dtm": self.dtm}

    def begin(self):
        self.gid = utils.gen_gid(self.dtm)
        with lock:
            watch_of(self.gid).command = self.command

    def url(self, side, op):
        return "%s/%s/%s" % (config["services"]["http"], side, op)

    def apply(self, base):
        base.retry_interval = RETRY_INTERVAL_SECONDS
        command = self.command
        disturbed = command.get("noWait") or command.get("loseAnswerOf")
        base.wait_result = not disturbed and (not command.get("pauseAt") or bool(command.get("again")))
        base.timeout_to_fail = command.get("timeoutSeconds") or 0

    def dies_if(self, at):
        if config.get("diesAt") == at:
            emit(kind="dying", id=self.id, gid=self.gid)
            os.kill(os.getpid(), signal.SIGKILL)

    def pause_here(self):
        if self.command.get("pauseAt") == "client":
            pause(self.id)


def run_saga(run, concurrent=False, ordered=False, submits=1, **hindrance):
    run.begin()
    body = dict(run.body, meets=concurrent and not ordered, ordered=ordered, **hindrance)
    transaction = saga.Saga(run.dtm, run.gid)
    for side in ("out", "in"):
        transaction.add(body, run.url(side, "action"), run.url(side, "compensate"))
    run.apply(transaction.trans_base)
    if body.get("wantsHeader"):
        transaction.trans_base.branch_headers = {"x-interop": run.id}
    if concurrent:
        # The client's own set_concurrent leaves two attributes unset that its submit reads.
        transaction.orders = {}
        transaction.concurrent = True
        transaction.set_concurrent()
    if ordered:
        transaction.add_branch_order(1, [0])
    try:
        for _ in range(submits):
            transaction.submit()
    except Exception:
        again = run.command.get("again")
        if not again:
            raise
        transaction.dtm = again["httpUrl"] + "/api/dtmsvr"
        transaction.submit()


def run_tcc(run, first_try="try", refuses=""):
    run.begin()
    body = dict(run.body, refuses=refuses)

    def branches(transaction):
        sides = ("out",) if first_try == "nested" else ("out", "in")
        for side in sides:
            transaction.call_branch(
                body,
                run.url(side, first_try),
                run.url(side, "confirm"),
                run.url(side, "cancel"),
            )
        run.pause_here()

    # The client swallows every error, and returns "" for a transaction that it aborted.
    if tcc.tcc_global_transaction(run.dtm, run.gid, branches) == "":
        raise utils.DTMFailureError("aborted")


def run_msg(run, fails=False):
    run.begin()
    body = dict(run.body, refuses="out" if fails else "")
    transaction = msg.Msg(run.dtm, run.gid)
    transaction.add(run.body, run.url("in", "action"))
    run.apply(transaction.trans_base)
    transaction.trans_base.timeout_to_fail = CHECK_BACK_AFTER_SECONDS

    def business(cursor):
        move(cursor, "out", "action", body)
        run.dies_if("before-commit")

    def do(branch_barrier):
        connection = connect()
        try:
            branch_barrier.call(connection.cursor(), business)
        finally:
            connection.close()
        run.dies_if("after-commit")
        run.pause_here()

    transaction.do_and_submit("%s/checkback" % config["services"]["http"], do)


def run_topic(run):
    topic = "topic-" + run.id
    for side in ("out", "in"):
        # The client has no function for these routes, only for sending to a topic.
        query = {"topic": topic, "url": run.url(side, "action"), "remark": "interop"}
        requests.get(run.dtm + "/subscribe", params=query).raise_for_status()
    run.begin()
    transaction = msg.Msg(run.dtm, run.gid).add(run.body, "topic://" + topic)
    run.apply(transaction.trans_base)
    transaction.submit()
    requests.delete(run.dtm + "/topic/" + topic).raise_for_status()
    late = msg.Msg(run.dtm, run.gid + "-late").add(run.body, "topic://" + topic)
    try:
        late.submit()
    except Exception:
        return
    raise AssertionError("a message to a deleted topic was accepted")


SCENARIOS = {
    "saga-success": run_saga,
    "saga-rollback": lambda run: run_saga(run, refuses="in"),
    "saga-concurrent": lambda run: run_saga(run, concurrent=True),
    "saga-orders": lambda run: run_saga(run, concurrent=True, ordered=True),
    "saga-repeated": lambda run: run_saga(run, submits=3),
    "saga-ongoing": lambda run: run_saga(run, ongoing="in", ongoingTimes=1),
    "saga-timeout": lambda run: run_saga(run, ongoing="in", ongoingTimes=sys.maxsize),
    "saga-headers": lambda run: run_saga(run, wantsHeader=True),
    "tcc-confirm": run_tcc,
    "tcc-cancel": lambda run: run_tcc(run, refuses="in"),
    "tcc-nested": lambda run: run_tcc(run, first_try="nested"),
    "msg": run_msg,
    "msg-local-failure": lambda run: run_msg(run, fails=True),
    "topic": run_topic,
}


def execute(command):
    run = Run(command)
    line = {"kind": "result", "id": run.id, "clientSaw": "success"}
    try:
        SCENARIOS[command["scenario"]](run)
    except utils.DTMFailureError:
        line["clientSaw"] = "failure"
    except AssertionError as error:
        line["error"] = str(error)
    except Exception as error:
        line["clientSaw"] = "%s: %s" % (type(error).__name__, error)
    emit(**line, gid=run.gid)


def accept(command):
    if command.get("continue"):
        with lock:
            waiting = pauses.pop(command["id"], None)
        if waiting:
            waiting.set()
    elif command.get("callsOf"):
        with lock:
            calls = dict(watch_of(command["callsOf"]).calls)
        emit(kind="calls", id=command["id"], calls=calls)
    else:
        threading.Thread(target=execute, args=(command,), daemon=True).start()


if not config.get("services"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Participant)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config["services"] = {"http": "http://127.0.0.1:%d" % server.server_port}
emit(kind="ready", services=config["services"])
for text in sys.stdin:
    accept(json.loads(text))
