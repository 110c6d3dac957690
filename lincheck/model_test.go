package lincheck

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/lapse-go/lapse"
)

// A said is a call with its result and the moments between which it was made.
type said struct {
	begin, end int64
	call
	result
}

// TestModel gives the checker histories that are right and such that are wrong in one place. Limits: Idle 4, Lifetime 14,
// PollCap 6, PollMax 3, in ticks; times are half ticks.
func TestModel(t *testing.T) {
	yes, no := result{ok: true}, result{}
	at := func(halves ...int16) []int16 { return halves }
	start := said{1, 2, call{op: opStart, times: at(0)}, yes}
	for _, tt := range []struct {
		name  string
		right bool
		calls []said
	}{
		{"touch after Expire", false, []said{
			{3, 4, call{op: opExpire, times: at(0)}, yes},
			{5, 6, call{op: opTouch, times: at(0)}, yes}}},
		{"touch while Expire runs", true, []said{
			{3, 6, call{op: opExpire, times: at(0)}, yes},
			{4, 5, call{op: opTouch, times: at(0)}, yes}}},
		{"two Expires", false, []said{
			{3, 6, call{op: opExpire, times: at(0)}, yes},
			{4, 5, call{op: opExpire, times: at(0)}, yes}}},
		{"a key twice", false, []said{
			{3, 4, call{op: opStart, times: at(0)}, result{ok: true, got: 1}}}},
		{"a key again", true, []said{
			{3, 4, call{op: opStart, times: at(8)}, result{ok: true, got: 1}}}},
		{"ended a half tick early", false, []said{
			{3, 4, call{op: opAlive, times: at(7)}, no}}},
		{"ended in time", true, []said{
			{3, 4, call{op: opAlive, times: at(8)}, no}}},
		{"alive too late", false, []said{
			{3, 4, call{op: opAlive, times: at(8)}, yes}}},
		{"alive by the older of two readings", true, []said{
			{3, 4, call{op: opAlive, times: at(7, 9)}, yes}}},
		{"alive after it was seen dead", false, []said{
			{3, 4, call{op: opAlive, times: at(7, 9)}, no},
			{5, 6, call{op: opAlive, times: at(7, 9)}, yes}}},
		{"revived by a late touch", false, []said{
			{3, 4, call{op: opAlive, times: at(8)}, no},
			{3, 6, call{op: opTouch, times: at(7, 8)}, yes},
			{7, 8, call{op: opAlive, times: at(8)}, yes}}},
		{"one poll too many", false, []said{
			{3, 4, call{op: opPoll, times: at(0)}, yes},
			{5, 6, call{op: opPoll, times: at(0)}, yes},
			{7, 8, call{op: opPoll, times: at(0)}, yes},
			{9, 10, call{op: opPoll, times: at(0)}, yes}}},
		{"a touch between too many polls", true, []said{
			{3, 4, call{op: opPoll, times: at(0)}, yes},
			{5, 6, call{op: opPoll, times: at(0)}, yes},
			{7, 10, call{op: opPoll, times: at(0)}, yes},
			{8, 9, call{op: opTouch, times: at(0)}, yes},
			{11, 12, call{op: opPoll, times: at(0)}, yes}}},
		{"a lost touch", false, []said{
			{3, 4, call{op: opTouch, times: at(3)}, yes},
			{5, 6, call{op: opInfo, times: at(3)}, result{ok: true, seen: sight{timed: true, why: lapse.ReasonIdle, limit: 4}}}}},
		{"the touch is told", true, []said{
			{3, 4, call{op: opTouch, times: at(3)}, yes},
			{5, 6, call{op: opInfo, times: at(3)}, result{ok: true, seen: sight{timed: true, why: lapse.ReasonIdle, seen: 2, limit: 6}}}}},
		{"a wrong reason", false, []said{
			{3, 4, call{op: opExpire, times: at(0)}, yes},
			{4, 4, call{op: opEvent, times: at(0)}, result{seen: sight{timed: true, why: lapse.ReasonIdle, limit: 4}}}}},
		{"the right reason", true, []said{
			{3, 4, call{op: opExpire, times: at(0)}, yes},
			{4, 4, call{op: opEvent, times: at(0)}, result{seen: sight{timed: true, why: lapse.ReasonExpired, limit: 4}}}}},
		{"a hook before its end", false, []said{
			{3, 3, call{op: opEvent, times: at(0)}, result{seen: sight{timed: true, why: lapse.ReasonExpired, limit: 4}}},
			{4, 5, call{op: opExpire, times: at(0)}, yes}}},
		{"found under the old key", false, []said{
			{3, 4, call{op: opRename, to: 1, times: at(0)}, yes},
			{5, 6, call{op: opFind}, no},
			{5, 6, call{op: opGet, times: at(0)}, yes}}},
		{"found before the Rename, touched after it", true, []said{
			{3, 10, call{op: opFind, goroutine: 1}, no},
			{3, 10, call{op: opTouchKey, goroutine: 1, times: at(0)}, yes},
			{4, 5, call{op: opRename, to: 1, times: at(0)}, yes},
			{6, 7, call{op: opPoll, times: at(0)}, yes},
			{11, 12, call{op: opInfo, times: at(0)}, result{ok: true, seen: sight{timed: true, why: lapse.ReasonIdle, limit: 4}}}}},
		{"held past its Idle", true, []said{
			{3, 4, call{op: opHold, times: at(0)}, yes},
			{5, 6, call{op: opAlive, times: at(27)}, yes},
			{7, 8, call{op: opRelease, times: at(27)}, yes},
			{9, 10, call{op: opAlive, times: at(28)}, no}}},
		{"a hold that did not hold", false, []said{
			{3, 4, call{op: opHold, times: at(0)}, yes},
			{5, 6, call{op: opAlive, times: at(27)}, no}}},
		{"revived by a policy", false, []said{
			{3, 4, call{op: opSettle, arg: 1, times: at(8)}, no},
			{3, 4, call{op: opSetPolicy, arg: 1, times: at(8)}, no},
			{5, 6, call{op: opAlive, times: at(8)}, yes}}},
		{"saved by a policy", true, []said{
			{3, 4, call{op: opSettle, arg: 1, times: at(7)}, no},
			{3, 4, call{op: opSetPolicy, arg: 1, times: at(7)}, no},
			{5, 6, call{op: opAlive, times: at(8)}, yes}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var ops []porcupine.Operation
			for _, s := range append([]said{start}, tt.calls...) {
				if s.times == nil {
					s.times = at(0)
				}
				ops = append(ops, porcupine.Operation{ClientId: int(s.goroutine), Input: &s.call, Output: &s.result, Call: s.begin, Return: s.end})
			}
			if got := porcupine.CheckOperations(short.model(), ops); got != tt.right {
				t.Errorf("the checker says %v", got)
			}
		})
	}
}
