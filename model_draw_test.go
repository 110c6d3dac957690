package lapse_test

import (
	"math"
	"time"

	"pgregory.net/rapid"
)

// drawLimit is zero or anything that may be special to a wheel.
func (m *model[K, V]) drawLimit(t *rapid.T, name string, ticks int64) time.Duration {
	tick := int64(m.tick)
	switch rapid.SampledFrom([]string{
		"zero", "zero", "few", "few", "few", "few", "few", "few", "part", "part", "level", "level", "huge",
	}).Draw(t, name) {
	case "few":
		return time.Duration(rapid.Int64Range(1, ticks).Draw(t, "ticks") * tick)
	case "part":
		return time.Duration(rapid.Int64Range(1, ticks*tick).Draw(t, "ns"))
	case "level":
		level := int64(127) << (3 * rapid.IntRange(0, 8).Draw(t, "level"))
		return time.Duration(m.ticks(level + rapid.Int64Range(-2, 9).Draw(t, "beside")))
	case "huge":
		if m.o.maxSessions > 0 {
			// Whether one that ends after all time may make room is nobody's
			// business.
			return time.Duration(m.ticks(3 * 127 << 24))
		}
		return time.Duration(rapid.SampledFrom([]int64{
			math.MaxInt64, math.MaxInt64 - 1, m.ticks(1 << 39), m.ticks(1<<39 - 1), m.ticks(3 * 127 << 24),
		}).Draw(t, "huge"))
	}
	return 0
}

// drawPolicy draws a policy; one that is not valid has a chance if it need not
// be.
func (m *model[K, V]) drawPolicy(t *rapid.T, name string, valid bool) modelPolicy {
	p := modelPolicy{
		name:     name,
		idle:     m.drawLimit(t, "idle", 8),
		lifetime: m.drawLimit(t, "lifetime", 30),
		pollCap:  m.drawLimit(t, "cap", 12),
		pollMax:  max(0, rapid.IntRange(-4, 4).Draw(t, "most polls")),
	}
	if !m.plain {
		p.warn = m.drawLimit(t, "warn", 4)
	}
	if !valid && rapid.IntRange(0, 3).Draw(t, "any policy") == 3 {
		return p
	}
	if p.lifetime > 0 {
		p.idle, p.pollCap = min(p.idle, p.lifetime), min(p.pollCap, p.lifetime)
	}
	most := rapid.SampledFrom([]time.Duration{1, 2, 4}).Draw(t, "part of the limit")
	for _, limit := range []time.Duration{p.idle, p.lifetime, p.pollCap} {
		if limit > 0 {
			p.warn = min(p.warn, (limit-1)/most)
		}
	}
	return p
}

// handle draws a session, mostly one that has not ended.
func (m *model[K, V]) handle(t *rapid.T) int {
	if len(m.o.open) > 0 && rapid.IntRange(0, 9).Draw(t, "old handle") < 9 {
		return m.o.open[rapid.IntRange(0, len(m.o.open)-1).Draw(t, "session")].id
	}
	return rapid.IntRange(0, len(m.o.sessions)-1).Draw(t, "handle")
}

func drawKey(t *rapid.T) int   { return rapid.IntRange(0, fewKeys-1).Draw(t, "key") }
func drawClass(t *rapid.T) int { return rapid.IntRange(0, 3).Draw(t, "class") }
func drawAny(t *rapid.T) int   { return rapid.IntRange(0, 999).Draw(t, "n") }

// drawHook draws a hook, and what it calls.
func (m *model[K, V]) drawHook(t *rapid.T, depth int) *modelHook {
	m.hooks++
	h := &modelHook{id: m.hooks}
	if depth == 2 || rapid.Bool().Draw(t, "only record") {
		return h
	}
	calls := []string{
		"start", "start", "start", "get", "touch", "poll", "look", "expire", "expire", "rename",
		"set idle", "set class", "set value", "notify", "notify", "stop", "stop", "all", "advance", "panic",
	}
	if !m.plain {
		calls = append(calls, "hold", "release", "ended", "set policy", "notify before")
	}
	if m.close {
		calls = append(calls, "close")
	}
	for range rapid.IntRange(1, 3).Draw(t, "calls") {
		op := modelOp{
			call: rapid.SampledFrom(calls).Draw(t, "call"),
			h:    rapid.SampledFrom([]int{ownHandle, ownHandle, -1, -2, -3, -4}).Draw(t, "handle"),
			key:  rapid.IntRange(ownKey, 2).Draw(t, "key"),
			to:   rapid.IntRange(ownKey, 2).Draw(t, "to"),
		}
		switch op.call {
		case "start", "set class":
			op.class = drawClass(t)
		case "set idle":
			op.d = time.Duration(rapid.Int64Range(0, 4).Draw(t, "ticks")) * m.tick
		case "set policy":
			op.class = drawClass(t)
			op.policy = m.drawPolicy(t, m.o.classes[op.class].name, true)
		case "notify", "notify before":
			op.hook = m.drawHook(t, depth+1)
		case "stop", "look", "set value":
			op.n = drawAny(t)
			op.value = op.n % 7
		}
		h.script = append(h.script, op)
	}
	return h
}
