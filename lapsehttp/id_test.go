package lapsehttp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestID(t *testing.T) {
	id := ID{0: 0x01, 1: 0x23, 7: 0xab, 15: 0xef}
	const text = "01230000000000ab00000000000000ef"
	if got := id.String(); got != text {
		t.Errorf("String: %s, want %s", got, text)
	}
	if got, err := ParseID(text); got != id || err != nil {
		t.Errorf("ParseID(%q): %v, %v", text, got, err)
	}
	for _, bad := range []string{"", "0", text[1:], text + "0", strings.ToUpper(text), "g" + text[1:], text[:31] + " ", text[:31] + "\x00", text[:30] + "é", `"` + text[:30] + `"`} {
		got, err := ParseID(bad)
		if err == nil || got != (ID{}) {
			t.Errorf("ParseID(%q): %v, %v, want an error", bad, got, err)
			continue
		}
		if len(bad) > 1 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error repeats what it was given: %v", err)
		}
	}
}

// TestIDNotLogged writes an id as careless code would.
func TestIDNotLogged(t *testing.T) {
	var out bytes.Buffer
	id := ID{1, 2, 3}
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("look", "id", id, slog.Group("g", "id", id))
	if strings.Contains(out.String(), id.String()) || strings.Count(out.String(), "(session id)") != 2 {
		t.Errorf("logged: %s", &out)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("")
	f.Add(ID{}.String())
	f.Add(strings.Repeat("F", 32))
	f.Add("012300000000000a00000000000000é")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err == nil && id.String() != s {
			t.Errorf("ParseID(%q) = %v: two spellings of one id", s, id)
		}
		plain := len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
		if plain != (err == nil) {
			t.Errorf("ParseID(%q): %v", s, err)
		}
		if fast, ok := parseID(s); ok != (err == nil) || fast != id {
			t.Errorf("parseID(%q): %v, %v", s, fast, ok)
		}
	})
}
