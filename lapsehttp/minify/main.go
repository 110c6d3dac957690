// Command minify makes the browser client's .min.js files from their sources
// and prints how large they are. With -check it writes nothing and fails if a
// committed file is not what its source gives, or if a file is larger than a
// page should have to load.
//
// Run it in its own directory:
//
//	go run .
//	go run . -check
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// The largest sizes that are accepted, in bytes after gzip -9: of the client
// alone, and of what a page loads that wants the dialog as well.
const (
	clientBar = 6000
	dialogBar = 8000
)

// modules are the sources that are entry points; each gives a .min.js beside it.
var modules = []string{"client", "dialog"}

// A build is one minified module.
type build struct {
	name string // of the .min.js file
	code []byte
	gzip int // bytes after gzip -9
}

func main() {
	check := flag.Bool("check", false, "write nothing; fail on a difference or a broken size bar")
	dir := flag.String("dir", "../client", "directory of the sources")
	flag.Parse()
	if err := run(os.Stdout, *dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "minify:", err)
		os.Exit(1)
	}
}

// run minifies the modules in dir, reports their sizes to w, and either writes
// the files or compares them with what is there.
func run(w io.Writer, dir string, check bool) error {
	builds, err := minify(dir)
	if err != nil {
		return err
	}
	report(w, builds)
	errs := []error{bars(builds)}
	for _, b := range builds {
		path := filepath.Join(dir, b.name)
		if check {
			errs = append(errs, compare(path, b.code))
		} else {
			errs = append(errs, os.WriteFile(path, b.code, 0o644))
		}
	}
	return errors.Join(errs...)
}

// minify bundles each module with the files that it imports, except the other
// entry points: a page that loads both loads the client once.
func minify(dir string) ([]build, error) {
	var builds []build
	for _, name := range modules {
		result := api.Build(api.BuildOptions{
			EntryPoints:       []string{filepath.Join(dir, name+".js")},
			External:          []string{"./client.js"},
			Bundle:            true,
			Format:            api.FormatESModule,
			Target:            api.ES2022,
			Charset:           api.CharsetUTF8,
			LegalComments:     api.LegalCommentsNone,
			MinifySyntax:      true,
			MinifyWhitespace:  true,
			MinifyIdentifiers: true,
		})
		if len(result.Errors) > 0 {
			text := api.FormatMessages(result.Errors, api.FormatMessagesOptions{})
			return nil, fmt.Errorf("%s.js does not build:\n%s", name, bytes.TrimSpace([]byte(fmt.Sprint(text))))
		}
		code := result.OutputFiles[0].Contents
		builds = append(builds, build{name: name + ".min.js", code: code, gzip: gzipped(code)})
	}
	return builds, nil
}

// gzipped returns the size of code after gzip -9.
func gzipped(code []byte) int {
	var buf bytes.Buffer
	z, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	z.Write(code)
	z.Close()
	return buf.Len()
}

// report prints one line for each build, and their sum.
func report(w io.Writer, builds []build) {
	raw, zipped := 0, 0
	for _, b := range builds {
		fmt.Fprintf(w, "%-14s %6d bytes, gzipped %5d\n", b.name, len(b.code), b.gzip)
		raw += len(b.code)
		zipped += b.gzip
	}
	fmt.Fprintf(w, "%-14s %6d bytes, gzipped %5d\n", "together", raw, zipped)
}

// bars returns an error that names each bar that the builds break.
func bars(builds []build) error {
	var errs []error
	sum := 0
	for _, b := range builds {
		sum += b.gzip
		if b.name == "client.min.js" && b.gzip > clientBar {
			errs = append(errs, fmt.Errorf("client.min.js is %d bytes gzipped, at most %d are allowed", b.gzip, clientBar))
		}
	}
	if sum > dialogBar {
		errs = append(errs, fmt.Errorf("client and dialog are %d bytes gzipped together, at most %d are allowed", sum, dialogBar))
	}
	return errors.Join(errs...)
}

// compare returns an error if the file at path is not code.
func compare(path string, code []byte) error {
	have, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w; make it with: go run . (in lapsehttp/minify)", err)
	}
	if !bytes.Equal(have, code) {
		return fmt.Errorf("%s is not what its source gives (%d bytes there, %d made); make it anew with: go run . (in lapsehttp/minify)",
			filepath.Base(path), len(have), len(code))
	}
	return nil
}
