//go:build planted

package planted_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tidemark/internal/planted"
)

func TestAllAreListed(t *testing.T) {
	var listed []string
	for _, b := range planted.All() {
		listed = append(listed, string(b))
	}
	want := names(t)
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("listed %q, want %q", listed, want)
	}
}

// TestChoice looks at itself in a process of its own: the variable is read once.
func TestChoice(t *testing.T) {
	if os.Getenv("PLANTED_TEST_CHILD") != "" {
		notice, err := planted.Notice()
		t.Logf("notice %q, error %v, toast-null %v, truncate-ignored %v", notice, err, planted.Is(planted.ToastNull), planted.Is(planted.TruncateIgnored))
		return
	}
	for chosen, want := range map[string]string{
		"":           `none is active", error <nil>, toast-null false, truncate-ignored false`,
		"toast-null": `toast-null is active", error <nil>, toast-null true, truncate-ignored false`,
		"toast":      `notice "", error choose a planted bug: TIDEMARK_PLANTED is "toast": want one of ack-on-receipt, `,
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChoice$", "-test.v")
		cmd.Env = append(os.Environ(), "PLANTED_TEST_CHILD=1", planted.Variable+"="+chosen)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v: %s", chosen, err, out)
		}
	}
}
