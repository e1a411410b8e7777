package archive

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Format is the version of everything that this package writes.
const Format = 1

// DecodeManifest reads and checks a manifest. Every key in it lies inside its own base.
func DecodeManifest(body []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w: %w", ErrCorrupt, err)
	}
	if m.Format != Format {
		return Manifest{}, fmt.Errorf("decode manifest: format %d, this version reads %d: %w", m.Format, Format, ErrCorrupt)
	}
	if m.LSN == 0 || m.SystemID == "" || m.Database == "" || m.Time.IsZero() {
		return Manifest{}, fmt.Errorf("decode manifest: LSN, time, system identifier or database is missing: %w", ErrCorrupt)
	}
	if err := m.check(); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w", err)
	}
	return m, nil
}

func (m Manifest) check() error {
	for _, p := range []Part{m.SchemaPre, m.SchemaPost} {
		if err := m.checkPart(p); err != nil {
			return err
		}
	}
	for _, t := range m.Tables {
		if t.Schema == "" || t.Name == "" {
			return fmt.Errorf("a table has no name: %w", ErrCorrupt)
		}
		var rows int64
		for _, p := range t.Parts {
			if err := m.checkPart(p); err != nil {
				return err
			}
			rows += p.Rows
		}
		if rows != t.Rows {
			return fmt.Errorf("parts of table %s.%s hold %d rows, want %d: %w", t.Schema, t.Name, rows, t.Rows, ErrCorrupt)
		}
	}
	return nil
}

func (m Manifest) checkPart(p Part) error {
	if err := checkKey(p.Key); err != nil {
		return err
	}
	if !strings.HasPrefix(p.Key, BaseDir(m.LSN)) || p.Size < 0 || p.Raw < 0 || p.Rows < 0 || len(p.SHA256) != 64 {
		return fmt.Errorf("part %q is not a part of this base: %w", p.Key, ErrCorrupt)
	}
	return nil
}
