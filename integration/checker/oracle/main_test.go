package oracle

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"tidemark/internal/postgres/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	for _, c := range clusters {
		if err := c.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
