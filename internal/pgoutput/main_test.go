package pgoutput

import (
	"os"
	"testing"

	"tidemark/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
