package workload

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// usual are the SQLSTATEs that a busy or ending server gives to right statements.
var usual = map[string]bool{
	"40001": true,                               // serialization failure
	"40P01": true,                               // deadlock
	"23505": true,                               // unique violation
	"23503": true,                               // foreign key violation
	"55P03": true,                               // lock timeout
	"57P01": true, "57P02": true, "57P03": true, // shut down, crashed, starting
	"25P02": true, // the transaction has failed already
	"55006": true, // an origin that a lost session still holds
}

// passing are given while the server still works off a connection that we have lost: a prepared transaction is busy, or just gone.
var passing = map[string]bool{"55000": true, "42704": true}

// code is the SQLSTATE of a server's error, or nothing.
func code(err error) string {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe.Code
	}
	return ""
}

// explain keeps of a server's error what holds no values.
func explain(err error) error {
	pe, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	var b strings.Builder
	for _, part := range []string{pe.SchemaName, pe.TableName, pe.ColumnName, pe.ConstraintName} {
		if part != "" {
			fmt.Fprintf(&b, " %q", part)
		}
	}
	if strings.HasPrefix(pe.Code, "42") || strings.HasPrefix(pe.Code, "55") || strings.HasPrefix(pe.Code, "0A") {
		fmt.Fprintf(&b, ": %s", pe.Message) // about names and syntax
	}
	return fmt.Errorf("SQLSTATE %s%s", pe.Code, b.String())
}
