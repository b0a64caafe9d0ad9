package main

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/dtm-labs/dtm/client/dtmcli"
	"github.com/dtm-labs/dtm/client/dtmcli/dtmimp"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"
)

const barrierExpireSeconds = 86400

// Body is the payload of every branch.
type Body struct {
	// The accounts of one scenario are <cell>-out and <cell>-in.
	Cell   string `json:"cell"`
	Amount int    `json:"amount"`
	// The side that has a business reason to refuse.
	Refuses string `json:"refuses,omitempty"`
	// Both first actions wait until the other has begun.
	Meets bool `json:"meets,omitempty"`
	// The action of "in" must come after that of "out" has been answered.
	Ordered bool `json:"ordered,omitempty"`
	// The side whose first OngoingTimes actions are said to be ongoing.
	Ongoing      string `json:"ongoing,omitempty"`
	OngoingTimes int    `json:"ongoingTimes,omitempty"`
	// The side whose action never works, without a business reason.
	Breaks string `json:"breaks,omitempty"`
	// Every call must carry the header x-interop with the cell.
	WantsHeader bool `json:"wantsHeader,omitempty"`
	// An action that comes earlier does not work; Unix milliseconds.
	NotBefore int64 `json:"notBefore,omitempty"`
	// For a try that starts its own branches.
	Services *Services `json:"services,omitempty"`
}

type bank struct {
	confs map[string]dtmcli.DBConf // by side
	redis *redis.Client
}

func openBank(databases Databases) *bank {
	b := &bank{confs: map[string]dtmcli.DBConf{}}
	if m := databases.Mariadb; m != nil {
		b.confs["out"] = dtmcli.DBConf{
			Driver: "mysql", Host: m.Host, Port: m.Port, User: m.User, Password: m.Password, Db: m.Database,
		}
	}
	if p := databases.Postgres; p != nil {
		b.confs["in"] = dtmcli.DBConf{
			Driver: "postgres", Host: p.Host, Port: p.Port, User: p.User, Password: p.Password, Db: p.Database,
			Schema: "public",
		}
	}
	if r := databases.Redis; r != nil {
		b.redis = redis.NewClient(&redis.Options{Addr: fmt.Sprintf("%s:%d", r.Host, r.Port)})
	}
	return b
}

func (b *bank) db(side string) (*sql.DB, dtmcli.DBConf, error) {
	conf, known := b.confs[side]
	if !known {
		return nil, conf, fmt.Errorf("no database for side %s", side)
	}
	db, err := dtmimp.PooledDB(conf)
	return db, conf, err
}

func delta(side string, amount int) int {
	if side == "out" {
		return -amount
	}
	return amount
}

// effect changes balance and trading as an op demands; balance + trading may not become negative.
func effect(op string, amount int) (balance int, trading int) {
	switch op {
	case "action":
		return amount, 0
	case "compensate", "rollback":
		return -amount, 0
	case "try":
		return 0, amount
	case "confirm":
		return amount, -amount
	case "cancel":
		return 0, -amount
	}
	panic("no effect of op " + op)
}

func move(tx dtmcli.DB, driver string, side string, op string, body Body) error {
	if body.Refuses == side && (op == "action" || op == "try") {
		return dtmcli.ErrFailure
	}
	balance, trading := effect(op, delta(side, body.Amount))
	_, err := dtmimp.DBExec(driver, tx,
		"update assent_bank.account set balance = balance + ?, trading = trading + ? where id = ?",
		balance, trading, body.Cell+"-"+side)
	if err != nil {
		return err
	}
	_, err = dtmimp.DBExec(driver, tx,
		"insert into assent_bank.ledger (cell, side, op) values (?, ?, ?)", body.Cell, side, op)
	return err
}

// underBarrier is a branch as a service writes it: its business once, whatever is repeated.
func (b *bank) underBarrier(barrier *dtmcli.BranchBarrier, side string, op string, body Body) error {
	if strings.HasPrefix(side, "redis-") {
		return b.underRedisBarrier(barrier, side, op, body)
	}
	db, conf, err := b.db(side)
	if err != nil {
		return err
	}
	barrier.DBType = conf.Driver
	return barrier.CallWithDB(db, func(tx *sql.Tx) error {
		return move(tx, conf.Driver, side, op, body)
	})
}

func (b *bank) underRedisBarrier(barrier *dtmcli.BranchBarrier, side string, op string, body Body) error {
	if b.redis == nil {
		return errors.New("no Redis")
	}
	if body.Refuses == side && op == "action" {
		return dtmcli.ErrFailure
	}
	balance, _ := effect(op, delta(strings.TrimPrefix(side, "redis-"), body.Amount))
	return barrier.RedisCheckAdjustAmount(b.redis, body.Cell+"-"+side, balance, barrierExpireSeconds)
}
