//go:build wasip1

package abi

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"
	"unsafe"
)

// Attr is whatever has no field of its own.
type Attr struct{ Key, Value String }

// Context is what every decision is given.
type Context struct {
	DecisionID String
	NowMs      uint64
	Seed       uint64
	Generation uint64
	Shadow     uint8
	Attrs      List[Attr]
}

// Failure is an answer that is none.
type Failure struct {
	Code         uint32
	Message      String
	RetryAfterMs Option[uint32]
}

// Info is who a policy is.
type Info struct {
	Name, Version, SettingsSchema String
	Attrs                         List[Attr]
}

// Request is what is being placed.
type Request struct {
	Kind, Purpose, Name    String
	Apps, Volumes          List[uint32]
	Current                Option[uint32]
	Count                  uint32
	SizeBytes, MemoryBytes uint64
	CPUMillis              uint32
	Holders, Excluded      List[uint32]
	Attrs                  List[Attr]
}

// Evaluate is what `placement.evaluate` is called with.
type Evaluate struct {
	Context    Context
	View       View
	Request    Request
	Candidates List[uint32]
}

// Reason is why a candidate is liked or refused.
type Reason struct {
	Candidate, Code uint32
	Text            String
}

// Verdict answers `placement.evaluate`.
type Verdict struct {
	Scores     List[int32]
	Reasons    List[Reason]
	AskAgainMs Option[uint32]
	Attrs      List[Attr]
}

// Move is a part of the answer of `rebalance.plan`.
type Move struct {
	App, Target uint32
	Gain        float64
	Reason      String
	Attrs       List[Attr]
}

// Incident is a silent node.
type Incident struct {
	Node          uint32
	SilentMs      uint64
	Fenced        uint8
	Votes, Quorum uint32
	Attrs         List[Attr]
}

// Decide is what `failover.decide` is called with.
type Decide struct {
	Context  Context
	View     View
	Incident Incident
	Volumes  List[uint32]
}

// Decision is a part of the answer of `failover.decide`.
type Decision struct {
	Code    uint32
	Replica Option[uint32]
	WaitMs  uint32
	Reason  String
	Attrs   List[Attr]
}

// Due is a part of the answer of `backup-schedule.next`.
type Due struct {
	Volume      uint32
	AtMs        uint64
	Lane, Label String
	Attrs       List[Attr]
}

// Schedule answers `backup-schedule.next`.
type Schedule struct {
	Due        List[Due]
	AskAgainMs uint64
}

// BackupCopy is a copy that exists.
type BackupCopy struct {
	Tag     String
	TakenMs uint64
	Label   String
	Bytes   uint64
	Attrs   List[Attr]
}

// Droppable is a part of the answer of `backup-schedule.prune`.
type Droppable struct {
	Copy   uint32
	Reason String
}

// Result is an answer or a failure, which stand at the same place.
type Result[T any] struct {
	isFailure uint8
	ok        T
	_         Failure // room for the larger of the two
}

// Fail makes a failure of a result.
func (r *Result[T]) Fail(code uint32, message string) {
	r.isFailure = 1
	*(*Failure)(unsafe.Pointer(&r.ok)) = Failure{Code: code, Message: Text(message)}
}

// Answer makes an answer with what an author's function says. A panic of that function is logged, and becomes a failure.
func Answer[T any](view View, ask func() T) unsafe.Pointer {
	result := new(Result[T])
	func() {
		defer func() {
			if reason := recover(); reason != nil {
				Log(LevelError, fmt.Sprintf("panic: %v\n%s", reason, debug.Stack()))
				result.Fail(0, fmt.Sprintf("panic: %v", reason))
			}
		}()
		result.ok = ask()
	}()
	view.Drop()
	return Keep(result)
}

// Moment is a point in time.
func Moment(ms uint64) time.Time { return time.UnixMilli(int64(min(ms, math.MaxInt64))).UTC() }

// Span is a length of time; what is too long for Go is 290 years.
func Span(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}
