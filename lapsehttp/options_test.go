package lapsehttp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lapse-go/lapse"
)

func TestOptionErrors(t *testing.T) {
	e, err := lapse.New[ID, string](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, tt := range []struct {
		o    Options[string]
		want []string // in the error
	}{
		{Options[string]{Prefix: "session/"}, []string{"Prefix", `"session/"`, `"/session/"`}},
		{Options[string]{Prefix: "/session"}, []string{"Prefix"}},
		{Options[string]{Prefix: "//"}, []string{"Prefix"}},
		{Options[string]{Prefix: "/a/../b/"}, []string{"Prefix"}},
		{Options[string]{Prefix: "/{x}/"}, []string{"Prefix"}},
		{Options[string]{Prefix: "/a b/"}, []string{"Prefix"}},
		{Options[string]{Prefix: "/a?/"}, []string{"Prefix"}},
		{Options[string]{LoginURL: "login"}, []string{"LoginURL", `"login"`, `"/login"`}},
		{Options[string]{LoginURL: "//evil.example"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "/\\evil.example"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "///evil.example"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "javascript:alert(1)"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "https:///x"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "/a\r\nb"}, []string{"LoginURL"}},
		{Options[string]{LoginURL: "/%zz"}, []string{"LoginURL", "URL"}},
		{Options[string]{Routes: Routes{"score": Poll}}, []string{"Routes", `"score"`}},
		{Options[string]{Cookie: http.Cookie{MaxAge: -1}}, []string{"Cookie", "MaxAge"}},
	} {
		_, err := New(e, tt.o)
		names(t, err, append(tt.want, "lapsehttp: Options.")...)
	}
	_, err = New[string](nil, Options[string]{})
	names(t, err, "engine")
	for _, fine := range []Options[string]{
		{},
		{Prefix: "/"},
		{Prefix: "/a/.well-known/"},
		{LoginURL: "https://id.example/login?app=1#top"},
	} {
		if _, err := New(e, fine); err != nil {
			t.Errorf("%+v: %v", fine, err)
		}
	}
}

func TestForeignClass(t *testing.T) {
	mine := newTest(t, lapse.Options{}, Options[string]{})
	other, err := lapse.New[ID, string](lapse.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	foreign, err := other.Class(lapse.ShortSession)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(mine.engine, Options[string]{Class: foreign})
	names(t, err, "Options.Class", `"short"`, "another engine")
	if _, made := mine.engine.Stats().Live["short"]; made {
		t.Error("a class of that name has been made")
	}

	// The same name with another policy makes no difference.
	if _, err := mine.engine.Class(lapse.Policy{Name: "long"}); err != nil {
		t.Fatal(err)
	}
	long, err := other.Class(lapse.Policy{Name: "long", Idle: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, id := start(t, mine, "Ada")
	serve(t, mine.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range []*lapse.Class[ID, string]{long, foreign} {
			names(t, mine.Promote(w, r, c, "Ada"), "Promote", "another engine")
		}
		names(t, mine.Promote(w, r, nil, "Ada"), "Promote", "nil")
		if s, ok := FromContext[string](r.Context()); !ok || !s.Alive() {
			t.Error("the session has ended")
		}
	})), request("GET", "/", id), http.StatusOK)

	// A policy that changes meanwhile does not make a class foreign.
	own, err := mine.engine.Class(lapse.Policy{Name: "own"})
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.checkClass(own); err != nil {
		t.Error(err)
	}
	if err := own.SetPolicy(lapse.Policy{Name: "own", Idle: 5e9}); err != nil {
		t.Fatal(err)
	}
	if err := mine.checkClass(own); err != nil {
		t.Error(err)
	}
	mine.engine.Close()
	_, err = New(mine.engine, Options[string]{Class: own})
	isError(t, err, lapse.ErrClosed)
}

func TestEntropy(t *testing.T) {
	known := bytes.Repeat([]byte{0xab, 0xcd}, 8)
	m := newTest(t, lapse.Options{}, Options[string]{Entropy: iotest.OneByteReader(io.MultiReader(
		bytes.NewReader(known), bytes.NewReader(known), strings.NewReader("fedcba9876543210"), bytes.NewReader(known[1:])))})
	_, id := start(t, m, "Ada")
	if id.String() != strings.Repeat("abcd", 8) {
		t.Errorf("the id is %v", id)
	}
	// What is in use is not used again.
	if _, id := start(t, m, "Ada"); string(id[:]) != "fedcba9876543210" {
		t.Errorf("the second id is %v", id)
	}
	_, err := m.begin(nil, "Ada")
	names(t, err, "entropy")
	isError(t, err, io.ErrUnexpectedEOF)
	_, err = m.begin(nil, "Ada")
	isError(t, err, io.EOF)

	m = newTest(t, lapse.Options{}, Options[string]{Entropy: zeros{}})
	s, id := start(t, m, "Ada")
	_, err = m.begin(nil, "Ada")
	isError(t, err, errRepeats)
	names(t, err, "Entropy")
	serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		isError(t, m.Renew(w, r), errRepeats)
	})), request("GET", "/", id), http.StatusOK)
	if !s.Alive() || m.engine.Len() != 1 {
		t.Error("a session has ended, or another one started")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestEntropyFailsInRenew leaves the session with its id.
func TestEntropyFailsInRenew(t *testing.T) {
	broken := errors.New("broken")
	m := newTest(t, lapse.Options{}, Options[string]{Entropy: io.MultiReader(io.LimitReader(rand.Reader, 16), iotest.ErrReader(broken))})
	_, id := start(t, m, "Ada")
	w := serve(t, m.Handler(handle(func(w http.ResponseWriter, r *http.Request) {
		isError(t, m.Renew(w, r), broken)
		_, err := m.Start(w, r, "Ada")
		isError(t, err, broken)
	})), request("GET", "/", id), http.StatusOK)
	if cookie(w, "session") != nil {
		t.Errorf("an id was sent: %v", w.Header())
	}
}
