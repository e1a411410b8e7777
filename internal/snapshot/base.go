package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"tidemark/internal/archive"
	"tidemark/internal/objstore"
	"tidemark/internal/postgres"
)

// BaseOptions say what base is taken from where.
type BaseOptions struct {
	SourceURL   string
	Bucket      objstore.Bucket
	Publication string
	// PartSize is how many bytes of COPY text make a part, before compression; 32 MiB when zero. A part holds at least a row.
	PartSize int
	// Jobs is how many tables are read at a time, 2 when zero. Each job holds one part in memory.
	Jobs int
	// Progress may be nil.
	Progress Progress
	Log      *slog.Logger
}

const defaultPartSize = 32 << 20

// TakeBase writes a base: the published tables, the schema and the sequences as they are at one LSN. It returns the
// manifest, which was written last. What fails half-way is no base.
func TakeBase(ctx context.Context, opts BaseOptions) (archive.Manifest, error) {
	start := time.Now()
	b := &base{BaseOptions: opts, told: orSilent(opts.Progress)}
	if b.Jobs < 1 {
		b.Jobs = defaultJobs
	}
	if b.PartSize < 1 {
		b.PartSize = defaultPartSize
	}
	defer b.close()
	for _, step := range []func(context.Context) error{b.export, b.rows} {
		if err := step(ctx); err != nil {
			return archive.Manifest{}, err
		}
	}
	b.manifest.Seconds = time.Since(start).Seconds()
	if err := b.to.Finish(ctx, b.manifest); err != nil {
		return archive.Manifest{}, err
	}
	b.manifest.Format, b.manifest.LSN = archive.Format, b.taken.LSN
	return b.manifest, nil
}

type base struct {
	BaseOptions
	told Progress

	*taken
	to       *archive.Base
	manifest archive.Manifest
}

func (b *base) export(ctx context.Context) (err error) {
	if b.taken, err = take(ctx, b.SourceURL, b.Publication, b.Jobs, b.Log); err != nil {
		return err
	}
	b.to = archive.NewBase(b.Bucket, b.taken.LSN)
	b.manifest = archive.Manifest{
		SystemID: b.taken.SystemID, Timeline: b.taken.Timeline, Database: b.taken.Database,
		ServerVersion: int(b.taken.Version), Encoding: b.taken.Encoding, Time: b.taken.Time,
	}
	if b.manifest.Sequences, err = sequences(ctx, b.source.conns[0]); err != nil {
		return err
	}
	if b.manifest.SchemaPre, err = b.store(ctx, archive.SchemaPreName, b.pre, 0); err != nil {
		return err
	}
	b.manifest.SchemaPost, err = b.store(ctx, archive.SchemaPostName, b.post, 0)
	return err
}

func (b *base) store(ctx context.Context, name string, raw []byte, rows int64) (archive.Part, error) {
	body, err := archive.Compress(raw)
	if err != nil {
		return archive.Part{}, err
	}
	return b.to.PutPart(ctx, name, body, rows, int64(len(raw)))
}

func (b *base) rows(ctx context.Context) error {
	tables := b.source.tables
	b.told.Plan(tables)
	b.manifest.Tables = make([]archive.Table, len(tables))
	return b.source.each(ctx, func(ctx context.Context, _ int, source *pgx.Conn, i int) error {
		t := tables[i]
		w := &parts{ctx: ctx, base: b, table: t}
		tag, err := source.PgConn().CopyTo(ctx, w, t.copyOut())
		if err != nil {
			return fmt.Errorf("read from source: %w", postgres.Explain(err))
		}
		if err := w.cut(); err != nil {
			return err
		}
		entry := archive.Table{Schema: t.Schema, Name: t.Name, OID: t.oid, Columns: t.Columns, Rows: tag.RowsAffected(), Parts: w.list}
		if w.total != entry.Rows {
			return fmt.Errorf("read from source: %d lines for %d rows", w.total, entry.Rows)
		}
		b.manifest.Tables[i] = entry
		b.told.Done(t)
		return nil
	})
}

func (b *base) close() {
	if b.taken != nil {
		if err := b.taken.close(); err != nil {
			b.Log.Warn("close snapshot", "error", err)
		}
	}
}

// parts cuts COPY text at ends of rows and stores the pieces.
type parts struct {
	ctx   context.Context // of the copy that writes here
	base  *base
	table Table
	raw   []byte
	rows  int64 // in raw
	total int64
	list  []archive.Part
}

// Write takes text of any length; parts are cut only where a row ends, which is at every newline and nowhere else.
func (w *parts) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := len(p)
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			n = i + 1
			w.rows++
			w.total++
		}
		w.raw = append(w.raw, p[:n]...)
		if p[n-1] == '\n' && len(w.raw) >= w.base.PartSize {
			if err := w.cut(); err != nil {
				return 0, err
			}
		}
		p = p[n:]
	}
	return written, nil
}

// cut stores what was gathered as the next part.
func (w *parts) cut() error {
	if len(w.raw) == 0 {
		return nil
	}
	name := archive.DataName(w.table.Schema, w.table.Name, len(w.list)+1)
	part, err := w.base.store(w.ctx, name, w.raw, w.rows)
	if err != nil {
		return err
	}
	w.base.told.Copied(w.table, w.rows, int64(len(w.raw)))
	w.list = append(w.list, part)
	w.raw, w.rows = w.raw[:0], 0
	return nil
}
