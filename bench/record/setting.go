package record

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/lapse-go/lapse/bench/peers"
)

// A Machine is what results depend on most.
type Machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Memory  string `json:"memory"`
	OS      string `json:"os"`
	Kernel  string `json:"kernel,omitempty"`
	Virtual bool   `json:"virtual"` // a virtual machine
	Caches  string `json:"caches,omitempty"`
}

func (m Machine) String() string {
	kind := ""
	if m.Virtual {
		kind = " (virtual)"
	}
	cores := "cores"
	if m.Cores == 1 {
		cores = "core"
	}
	return fmt.Sprintf("%s, %d %s%s, %s, %s", m.CPU, m.Cores, cores, kind, m.Memory, m.OS)
}

// Here returns the setting of this process.
func Here() Setting {
	s := Setting{
		Machine: machine(),
		Go:      runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Lapse:   revision(),
		Modules: make(map[string]string),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			for _, peer := range peers.List() {
				if peer.Module == dep.Path {
					s.Modules[dep.Path] = dep.Version
				}
			}
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // of strings and numbers
	}
	sum := sha256.Sum256(text)
	s.ID = hex.EncodeToString(sum[:4])
	return s
}

// revision is the commit of the working directory's repository; with a plus if
// there are changes beside it.
func revision() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	hash := strings.TrimSpace(string(out))
	if exec.Command("git", "diff", "--quiet", "HEAD", "--", ":/*.go", ":!/bench", ":!/docs").Run() != nil {
		hash += "+"
	}
	return hash
}

func machine() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS}
	for line := range lines("/proc/cpuinfo") {
		name, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name":
			m.CPU = strings.TrimSpace(value)
		case "flags":
			m.Virtual = strings.Contains(value+" ", " hypervisor ")
		}
	}
	for line := range lines("/proc/meminfo") {
		if value, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB")); err == nil {
				m.Memory = fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
			}
		}
	}
	for line := range lines("/etc/os-release") {
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			m.OS = strings.Trim(value, `"`)
		}
	}
	for line := range lines("/proc/sys/kernel/osrelease") {
		m.Kernel = line
	}
	var caches []string
	found, _ := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*/size")
	for _, path := range found {
		for line := range lines(path) {
			caches = append(caches, line)
		}
	}
	m.Caches = strings.Join(caches, " ")
	return m
}

// lines ranges over the lines of a file, without their ends; there are none of a
// file that cannot be read.
func lines(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		data, err := os.ReadFile(path)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(data)) {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}

// Available returns the bytes of memory that can be had; ok is false where the
// system does not tell.
func Available() (bytes float64, ok bool) {
	for line := range lines("/proc/meminfo") {
		if value, found := strings.CutPrefix(line, "MemAvailable:"); found {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kb * 1024, err == nil
		}
	}
	return 0, false
}

// Busy returns the seconds of all cores' time that were spent on work so far, by
// whomever; ok is false where the system does not tell.
func Busy() (seconds float64, ok bool) {
	for line := range lines("/proc/stat") {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] != "cpu" {
			break
		}
		// user, nice, system, (idle, iowait,) irq, softirq, steal; guests are in user.
		for _, i := range []int{1, 2, 3, 6, 7, 8} {
			ticks, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return 0, false
			}
			seconds += ticks / 100
		}
		return seconds, true
	}
	return 0, false
}
