package archive

import (
	"encoding/json"
	"errors"
	"testing"
)

func FuzzIndex(f *testing.F) {
	objects := fill(f, newBucket(f), 2)
	seed, err := json.Marshal(Index{Format: Format, Sequence: 1, Objects: objects})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"format":1,"sequence":1,"objects":[{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		x, err := DecodeIndex(body)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error is not ErrCorrupt: %v", err)
			}
			return
		}
		for i, o := range x.Objects {
			if checkKey(o.Key) != nil || o.Size <= 0 {
				t.Errorf("accepts %+v", o)
			}
			if i > 0 && o.Sequence != x.Objects[i-1].Sequence+1 {
				t.Errorf("accepts numbers %d, %d", x.Objects[i-1].Sequence, o.Sequence)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	part := Part{Key: BaseDir(0x10) + SchemaPreName, SHA256: digestOf(nil)}
	m := Manifest{Format: Format, SystemID: "1", Database: "a", LSN: 0x10, Time: begin, SchemaPre: part, SchemaPost: part,
		Tables: []Table{{Schema: "s", Name: "t", Parts: []Part{part}}}}
	seed, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := DecodeManifest(body)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("error is not ErrCorrupt: %v", err)
			}
			return
		}
		for _, p := range m.AllParts() {
			if checkKey(p.Key) != nil || p.Size < 0 {
				t.Errorf("accepts %+v", p)
			}
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add([]byte(`{"format":1,"system_id":"7","database":"a"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if i, err := DecodeIdentity(body); err == nil && (i.SystemID == "" || i.Database == "") {
			t.Errorf("accepts %+v", i)
		}
	})
}

func FuzzExamine(f *testing.F) {
	bucket := newBucket(f)
	fill(f, bucket, 1)
	body, err := fetchUpTo(f.Context(), bucket, JournalKey(1), maxMeta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Examine(who, 1, body); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrForeign) {
			t.Errorf("error is neither ErrCorrupt nor ErrForeign: %v", err)
		}
	})
}
