package workload

import (
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func (s *session) gidPrefix() string { return "load/" + strconv.Itoa(s.id) + "/" }

// prepare makes a transaction up to PREPARE TRANSACTION. Without a gid it was aborted, or the connection is lost.
func (s *session) prepare(p plan) (gid string, err error) {
	tx := s.register(p)
	if err := s.body(tx); err != nil {
		return "", s.abort(tx, err)
	}
	gid = s.gidPrefix() + decimal(tx.seq)
	err = s.expect("prepare transaction "+literal(of(gid)), "PREPARE TRANSACTION")
	switch {
	case err == nil:
		s.pending[gid] = tx
		return gid, nil
	case s.lost(): // it may be there: we look after the next connect
		s.pending[gid] = tx
		s.settle(tx, Unknown, code(err))
		return "", s.unusual(err)
	}
	return "", s.abort(tx, err)
}

func ending(gid string, commit bool) string {
	if commit {
		return "commit prepared " + literal(of(gid))
	}
	return "rollback prepared " + literal(of(gid))
}

// resolve ends a prepared transaction.
func (s *session) resolve(gid string, commit bool) error {
	_, err := s.exec(ending(gid, commit))
	return s.resolved(gid, commit, err)
}

// resolved notes how a prepared transaction ended.
func (s *session) resolved(gid string, commit bool, err error) error {
	tx := s.pending[gid]
	if err != nil {
		if s.lost() {
			s.settle(tx, Unknown, code(err)) // it is looked for after the next connect
			return s.unusual(err)
		}
		return explain(err)
	}
	delete(s.pending, gid)
	if commit {
		s.settle(tx, Acked, "")
	} else {
		s.settle(tx, Aborted, "")
	}
	return nil
}

// commitPair commits two prepared transactions with nothing between them: both statements are sent at once.
func (s *session) commitPair(first, second string) error {
	pipeline := s.conn.StartPipeline(s.ctx)
	for _, gid := range []string{first, second} {
		pipeline.SendQueryParams(ending(gid, true), nil, nil, nil, nil)
		pipeline.SendPipelineSync()
	}
	err := pipeline.Flush()
	for _, gid := range []string{first, second} {
		if err == nil {
			err = pairAnswer(pipeline)
		}
		if noted := s.resolvedInPipeline(gid, err); noted != nil {
			return noted
		}
	}
	if err == nil {
		err = pipeline.Close()
	}
	return s.unusual(err)
}

// resolvedInPipeline is resolved, where a lost connection shows as an error that is not the server's.
func (s *session) resolvedInPipeline(gid string, err error) error {
	if err != nil && code(err) == "" {
		_ = s.conn.Close(s.ctx) // what the server did is not known: look again
	}
	return s.resolved(gid, true, err)
}

// pairAnswer reads the answer to one statement and its sync.
func pairAnswer(pipeline *pgconn.Pipeline) error {
	var failure error
	for {
		answer, err := pipeline.GetResults()
		if err != nil {
			return err
		}
		switch answer := answer.(type) {
		case *pgconn.ResultReader:
			if _, err := answer.Close(); err != nil {
				failure = err
			}
		case *pgconn.PipelineSync:
			return failure
		case nil:
			return fmt.Errorf("read answer to a prepared transaction's end: %w", errUndone)
		}
	}
}

// resolveLeft ends the prepared transactions that a lost connection left. What is not there any more stays unknown:
// it was committed, or never prepared.
func (s *session) resolveLeft() error {
	results, err := s.exec("select gid from pg_prepared_xacts where database = current_database() and starts_with(gid, " + literal(of(s.gidPrefix())) + ") order by prepared, gid")
	if err != nil {
		return err
	}
	for _, row := range results[0].Rows {
		gid, commit := string(row[0]), s.r.IntN(2) == 0
		_, known := s.pending[gid]
		s.load.count("prepared transactions left by a lost connection", 1)
		if !known {
			commit = false // of a load before us
		}
		if _, err := s.exec(ending(gid, commit)); err != nil {
			return err
		}
		if known {
			if err := s.resolved(gid, commit, nil); err != nil {
				return err
			}
		}
	}
	clear(s.pending)
	return nil
}

// hold waits while a transaction is prepared, and less when the load ends.
func (s *session) hold() { sleep(s.ending, time.Duration(s.r.Int64N(int64(300*time.Millisecond)))) }
