package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
)

// mostKept bounds the statements that a connection keeps.
const mostKept = 256

// keeper makes connections that keep their statements: the driver (modernc.org/sqlite
// 1.61.1) prepares a text each time that it gets one, which was a quarter of what an
// accept cost.
type keeper struct{ driver.Connector }

// sqliteConn is what the driver's connections can do of what database/sql asks for.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

func (k keeper) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	able, ok := conn.(sqliteConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks an interface"), conn.Close())
	}
	return &keepingConn{sqliteConn: able, kept: make(map[string]*keptStmt)}, nil
}

// keepingConn is used by one goroutine at a time, as database/sql has it.
type keepingConn struct {
	sqliteConn

	kept map[string]*keptStmt
}

// keptStmt is a prepared statement. reading: its rows are not closed yet, it cannot
// be run again.
type keptStmt struct {
	stmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
	reading bool
}

// statement gives the statement of a text; nil when it is in use or when there are
// too many already.
func (c *keepingConn) statement(ctx context.Context, text string) (*keptStmt, error) {
	kept, ok := c.kept[text]
	if ok {
		if kept.reading {
			return nil, nil
		}
		return kept, nil
	}
	if len(c.kept) >= mostKept {
		return nil, nil
	}
	stmt, err := c.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	kept = &keptStmt{}
	if kept.stmt, ok = stmt.(interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}); !ok {
		return nil, stmt.Close()
	}
	c.kept[text] = kept
	return kept, nil
}

func (c *keepingConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	kept, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return c.sqliteConn.ExecContext(ctx, text, args)
	}
	return kept.stmt.ExecContext(ctx, args)
}

func (c *keepingConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	kept, err := c.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return c.sqliteConn.QueryContext(ctx, text, args)
	}
	rows, err := kept.stmt.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	kept.reading = true
	return &keptRows{Rows: rows, of: kept}, nil
}

func (c *keepingConn) Close() error {
	var err error
	for _, kept := range c.kept {
		err = errors.Join(err, kept.stmt.Close())
	}
	return errors.Join(err, c.sqliteConn.Close())
}

type keptRows struct {
	driver.Rows

	of *keptStmt
}

func (r *keptRows) Close() error {
	err := r.Rows.Close()
	r.of.reading = false
	return err
}
