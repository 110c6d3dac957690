// Package docs_test checks what the guides show: their Go code compiles, is
// formatted, passes go vet and its own tests, and their links lead somewhere.
package docs_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	// What the snippets use: if it changes, no cached result of this test counts.
	_ "github.com/lapse-go/lapse"
	_ "github.com/lapse-go/lapse/lapsehttp"
)

// A snippet is a block of Go on a page.
//
//   - A block marked go is a part of one package for each page: whole files,
//     declarations, or statements, for which the imports are added.
//   - One that begins with package main is a program by itself.
//   - One with a *testing.T is a test by itself, and is run.
//   - A comment that begins with <!-- go on a line of its own declares what the
//     blocks of its page take for granted, where the reader sees it in words.
//   - A block marked go theirs uses other modules. It only has to be Go.
type snippet struct {
	page   string
	line   int // of its first line
	text   string
	hidden bool
	theirs bool
}

// pages reads all pages.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	all := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

// snippets returns the blocks of Go on a page.
func snippets(t *testing.T, page, text string) (found []snippet) {
	t.Helper()
	fence, now := "", snippet{}
	for i, line := range strings.Split(text, "\n") {
		if fence != "" {
			if line != fence {
				now.text += line + "\n"
				continue
			}
			if now.page != "" {
				found = append(found, now)
			}
			fence, now = "", snippet{}
			continue
		}
		info, fenced := strings.CutPrefix(line, "```")
		switch {
		case line == "<!-- go":
			fence, now = "-->", snippet{page: page, line: i + 2, hidden: true}
		case fenced:
			fence = "```"
			switch language, rest, _ := strings.Cut(info, " "); {
			case language != "go":
			case rest == "" || rest == "theirs":
				now = snippet{page: page, line: i + 2, theirs: rest == "theirs"}
			default:
				t.Errorf("%s:%d: a block is marked %q: want go or go theirs", page, i+1, info)
			}
		case strings.Contains(line, "```"):
			t.Errorf("%s:%d: a fence begins within a line", page, i+1)
		}
	}
	if fence != "" {
		t.Errorf("%s:%d: a block has no end", page, now.line)
	}
	return found
}

// imports are the packages that a snippet can use without saying so.
var imports = map[string]string{
	"cmp": "cmp", "context": "context", "errors": "errors", "fmt": "fmt", "io": "io", "json": "encoding/json",
	"log": "log", "slog": "log/slog", "http": "net/http", "os": "os", "slices": "slices", "sync": "sync",
	"atomic": "sync/atomic", "httptest": "net/http/httptest", "time": "time", "testing": "testing", "template": "html/template",
	"clock": "github.com/benbjohnson/clock",
	"lapse": "github.com/lapse-go/lapse", "lapsehttp": "github.com/lapse-go/lapse/lapsehttp",
}

// source makes a file of a snippet. Positions in it are those of the page.
func (s snippet) source(dir string) (program bool, source []byte, err error) {
	at := func(column int) string {
		// The directive says what the next byte is.
		return fmt.Sprintf("/*line %s:%d:%d*/", filepath.Join(dir, s.page), s.line, column)
	}
	whole := at(1) + s.text
	if _, err := parser.ParseFile(token.NewFileSet(), "", whole, parser.PackageClauseOnly); err == nil {
		return true, []byte(whole), nil
	}
	files := token.NewFileSet()
	head, tail := "package snippets;", ""
	file, err := parser.ParseFile(files, "", head+at(1)+s.text, parser.SkipObjectResolution)
	if err != nil {
		body := "func _() {" + at(1) + s.text + "}"
		var second error
		if file, second = parser.ParseFile(files, "", head+body, parser.SkipObjectResolution); second != nil {
			// Of the two messages, that of the form which it seems to have.
			if !regexp.MustCompile(`^(type|func|var|const|//)\b`).MatchString(s.text) {
				err = second
			}
			return false, nil, err
		}
		head, tail = head+"func _() {", "}"
	}
	used := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if x, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := x.X.(*ast.Ident); ok && imports[id.Name] != "" {
				used[id.Name] = true
			}
		}
		return true
	})
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&list, "import %s %q;", name, imports[name])
	}
	head = strings.Replace(head, "package snippets;", "package snippets;"+list.String(), 1)
	return false, []byte(head + at(1) + s.text + tail), nil
}

// The snippets of all pages compile, have nothing that go vet minds, and those
// that are tests pass. Each page is a package in a module of its own, which requires what this one does.
func TestSnippets(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	module := newModule(t, filepath.Dir(here))
	n := 0
	for page, text := range pages(t) {
		for _, s := range snippets(t, page, text) {
			if formatted, err := format.Source([]byte(s.text)); err != nil {
				t.Errorf("%s:%d: %v", page, s.line, err)
				continue
			} else if !bytes.Equal(formatted, []byte(s.text)) && !s.hidden {
				t.Errorf("%s:%d: gofmt would change it to\n%s", page, s.line, formatted)
			}
			if s.theirs {
				continue
			}
			program, source, err := s.source(here)
			if err != nil {
				t.Errorf("%s:%d: %v", page, s.line, err)
				continue
			}
			dir, name := strings.TrimSuffix(page, ".md"), fmt.Sprintf("line%d.go", s.line)
			if program {
				dir += fmt.Sprintf("-%d", s.line)
			}
			if strings.Contains(s.text, "*testing.T)") {
				// One package for all of them: each would take a second to link.
				dir, name = "tests", fmt.Sprintf("%s%d_test.go", dir, s.line)
			}
			write(t, filepath.Join(module, dir, name), source)
			n++
		}
	}
	if n == 0 {
		t.Fatal("no snippets were found")
	}
	for _, args := range [][]string{{"vet", "./..."}, {"test", "-vet=off", "-ldflags=-s -w", "./tests"}} {
		command := exec.Command("go", args...)
		command.Dir = module
		command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", command, err, out)
			break
		}
	}
}

// newModule makes a module that requires the one in root, and all that this
// requires, in the same versions.
func newModule(t *testing.T, root string) (dir string) {
	t.Helper()
	const path = "github.com/lapse-go/lapse"
	dir = t.TempDir()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(string(mod), "module "+path+"\n")
	if !ok {
		t.Fatalf("go.mod does not begin with the module %s", path)
	}
	write(t, filepath.Join(dir, "go.mod"), fmt.Appendf(nil, "module snippets\n%s\nrequire %s v0.0.0\n\nreplace %s => %q\n", rest, path, path, root))
	write(t, filepath.Join(dir, "go.sum"), sum)
	return dir
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

var (
	links   = regexp.MustCompile(`\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"]+)"`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	fences  = regexp.MustCompile("(?ms)^```.*?^```$|^    .*?$")
	inline  = regexp.MustCompile("`[^`\n]*`")
)

// anchors returns the names that a page's headings have as targets of links.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 0x7f:
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		found[name] = true
	}
	return found
}

// Links between pages, to files of this module and to pictures lead to what is
// there.
func TestLinks(t *testing.T) {
	all := pages(t)
	n := 0
	for page, text := range all {
		for _, m := range links.FindAllStringSubmatch(inline.ReplaceAllString(fences.ReplaceAllString(text, ""), ""), -1) {
			target, anchor, _ := strings.Cut(m[1]+m[2], "#")
			if strings.Contains(target, ":") {
				continue // of the web
			}
			n++
			if target == "" {
				target = page
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: a link leads to %s, which is not there", page, target)
			}
			if other, ok := all[path.Clean(target)]; ok && anchor != "" && !anchors(other)[anchor] {
				t.Errorf("%s: a link leads to %s, which has no heading #%s", page, target, anchor)
			}
		}
	}
	if n == 0 {
		t.Error("no links were found")
	}
}
