package config

import "time"

// Config is the whole configuration.
type Config struct {
	Source  Source  `yaml:"source"`
	Journal Journal `yaml:"journal"`
	Sinks   Sinks   `yaml:"sinks"`
	RPO     RPO     `yaml:"rpo"`
	HTTP    HTTP    `yaml:"http"`
	Log     Log     `yaml:"log"`
}

// Source is the primary and what we own on it.
type Source struct {
	URL         Secret      `yaml:"url"`
	URLFile     string      `yaml:"url_file"`
	Slot        string      `yaml:"slot"`
	Publication Publication `yaml:"publication"`
	// Acknowledge is the set of copies that must be durable before the primary may forget: journal, or journal+archive ….
	Acknowledge string   `yaml:"acknowledge"`
	Heartbeat   Duration `yaml:"heartbeat"`
	// WALBudget is how much WAL the primary may keep for us before status warns (at 80 %) and /readyz turns red.
	WALBudget Size `yaml:"wal_budget"`
}

// Publication names the publication and the tables in it, as patterns schema.table with * for any text.
type Publication struct {
	Name    string   `yaml:"name"`
	Tables  []string `yaml:"tables"`
	Exclude []string `yaml:"exclude"`
}

// Journal is the local durable log.
type Journal struct {
	Dir         string   `yaml:"dir"`
	SegmentSize Size     `yaml:"segment_size"`
	Retention   Duration `yaml:"retention"`
	MaxSize     Size     `yaml:"max_size"`
}

// Sinks are the destinations. The standby is on when it has a URL, the others are on unless enabled is false.
type Sinks struct {
	Standby Standby `yaml:"standby"`
	NATS    NATS    `yaml:"nats"`
	Archive Archive `yaml:"archive"`
}

// Standby is the PostgreSQL to apply to.
type Standby struct {
	URL       Secret `yaml:"url"`
	URLFile   string `yaml:"url_file"`
	BatchRows int    `yaml:"batch_rows"`
	// DDL is stop: a change that does not fit the standby's tables stops the sink until the tables are mended.
	DDL string `yaml:"ddl"`
}

// NATS is the stream to publish to: an external server with a URL, otherwise the embedded one.
type NATS struct {
	Enabled         *bool    `yaml:"enabled"`
	URL             Secret   `yaml:"url"`
	CredentialsFile string   `yaml:"credentials_file"`
	Embedded        Embedded `yaml:"embedded"`
	Stream          string   `yaml:"stream"`
	SubjectPrefix   string   `yaml:"subject_prefix"`
	Format          string   `yaml:"format"`
	Replicas        int      `yaml:"replicas"`
	Retention       Duration `yaml:"retention"`
}

// Embedded is the NATS server inside the service.
type Embedded struct {
	Listen string `yaml:"listen"`
	Dir    string `yaml:"dir"`
	// SyncInterval is always, or how often the server fsyncs: the option of the same name of a NATS server.
	SyncInterval SyncInterval `yaml:"sync_interval"`
}

// Archive is the bucket.
type Archive struct {
	Enabled       *bool    `yaml:"enabled"`
	URL           string   `yaml:"url"`
	FlushInterval Duration `yaml:"flush_interval"`
	FlushSize     Size     `yaml:"flush_size"`
}

// RPO says how much loss is acceptable.
type RPO struct {
	Tiers  map[int]Tier    `yaml:"tiers"`
	Copies map[string]Copy `yaml:"copies"`
}

// Tier is a class of data by the loss that it tolerates.
type Tier struct {
	Target Duration `yaml:"target"`
}

// Copy says which tier a copy must hold, and the failure domain it stands in.
type Copy struct {
	Tier   int    `yaml:"tier"`
	Domain string `yaml:"domain"`
}

// HTTP is the one port of the service.
type HTTP struct {
	Listen    string `yaml:"listen"`
	TokenFile string `yaml:"token_file"`
	TLS       TLS    `yaml:"tls"`
	Debug     bool   `yaml:"debug"`
}

// TLS names certificate and key files in PEM.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Log is how the service logs.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Default returns the configuration with which a source URL alone is enough.
func Default() Config {
	return Config{
		Source: Source{
			Slot: "tidemark", Publication: Publication{Name: "tidemark", Tables: []string{"*.*"}},
			Acknowledge: "journal", Heartbeat: Duration(time.Second), WALBudget: 10 << 30,
		},
		Journal: Journal{
			Dir: "./tidemark-data/journal", SegmentSize: 64 << 20, Retention: Duration(24 * time.Hour), MaxSize: 50 << 30,
		},
		Sinks: Sinks{
			Standby: Standby{BatchRows: 10000, DDL: "stop"},
			NATS: NATS{
				Embedded: Embedded{Listen: "127.0.0.1:4222", Dir: "./tidemark-data/nats"},
				Stream:   "TIDEMARK", SubjectPrefix: "cdc", Format: "json", Replicas: 1, Retention: Duration(24 * time.Hour),
			},
			Archive: Archive{URL: "file://./tidemark-data/archive", FlushInterval: Duration(5 * time.Second), FlushSize: 8 << 20},
		},
		RPO: RPO{
			Tiers: map[int]Tier{
				1: {Duration(5 * time.Second)}, 2: {Duration(15 * time.Minute)}, 3: {Duration(4 * time.Hour)}, 4: {Duration(24 * time.Hour)},
			},
			Copies: map[string]Copy{"journal": {Tier: 1}, "standby": {Tier: 1}, "nats": {Tier: 2}, "archive": {Tier: 2}},
		},
		HTTP: HTTP{Listen: "127.0.0.1:8321"},
		Log:  Log{Level: "info", Format: "text"},
	}
}

// On reports whether the sink is enabled.
func (s Standby) On() bool { return s.URL != "" }

// On reports whether the sink is enabled.
func (n NATS) On() bool { return n.Enabled == nil || *n.Enabled }

// On reports whether the sink is enabled.
func (a Archive) On() bool { return a.Enabled == nil || *a.Enabled }
