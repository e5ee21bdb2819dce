package flocker

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// ScoreMax is the best score.
const ScoreMax = 10_000

// Snapshot is the lane of snapshots on the owner's node.
const Snapshot = "snapshot"

// Score is how good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app
// is moved by itself only if another node is better by 2000 points.
type Score struct {
	// Points from 0 (as bad as it gets, but possible) to 10000 (perfect); -1 is a refusal.
	Points int32
	// Code of wit/codes.md, or one of your own from 1000 on.
	Code uint32
	// Reason is shown by `flocker explain`.
	Reason string
}

// Good is a score; more than 10000 counts as 10000.
func Good(points uint64) Score { return Score{Points: int32(min(points, ScoreMax))} }

// Share is `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole.
func Share(part, whole uint64) Score {
	if part >= whole {
		return Good(min(whole, 1) * ScoreMax)
	}
	high, low := bits.Mul64(part, ScoreMax)
	points, _ := bits.Div64(high, low, whole)
	return Good(points)
}

// Refuse says that the node must not be taken, and why. One policy's refusal is final.
func Refuse(format string, arguments ...any) Score {
	return Score{Points: -1, Reason: fmt.Sprintf(format, arguments...)}
}

// Because says why.
func (s Score) Because(format string, arguments ...any) Score {
	s.Reason = fmt.Sprintf(format, arguments...)
	return s
}

// IsRefusal is whether the node must not be taken.
func (s Score) IsRefusal() bool { return s.Points < 0 }

// Request is what is to be placed.
type Request struct {
	// Name of the app.
	Name string
	// Purpose is `create`, `operator`, `drain` or `rebalance`.
	Purpose string
	// Memory and Size are bytes that it may use; 0 where they are not limited.
	Memory, Size uint64
	// CPUMillis is thousandths of a CPU; 0 where it is not limited.
	CPUMillis uint32
	// Volumes is how many it has.
	Volumes int
	// Labels of its containers.
	Labels map[string]string
	// At is where it is now; nil when it is nowhere.
	At *Node
	// Holders are nodes that hold a copy of its data.
	Holders []Node
}

// IsAt is whether it is on this node now. What it uses there is among what the node has promised.
func (r *Request) IsAt(node Node) bool { return r.At != nil && r.At.Same(node) }

// IsHeldBy is whether this node holds a copy of its data, so that less has to travel.
func (r *Request) IsHeldBy(node Node) bool {
	held := r.IsAt(node)
	for _, holder := range r.Holders {
		held = held || holder.Same(node)
	}
	return held
}

// Move is a move that would be good for the cluster.
type Move struct {
	App    App
	Target Node
	// Gain is compared with your own gains only, the largest first.
	Gain   float64
	Reason string
}

// Incident is a silent node.
type Incident struct {
	Node   Node
	Now    time.Time
	Silent time.Duration
	// Fenced is whether it is certain that it runs nothing any more.
	Fenced bool
	// Votes is how many agree that it is silent, and Quorum how many must.
	Votes, Quorum uint32
}

// Verdict is what becomes of a volume. The zero value waits, and is asked again at once.
type Verdict struct {
	course  uint32
	wait    time.Duration
	replica uint32
	Reason  string
}

// The courses are those of wit/codes.md.
const (
	courseWait = iota
	coursePromote
	courseFreeze
)

// Wait asks again after that time.
func Wait(again time.Duration) Verdict { return Verdict{course: courseWait, wait: again} }

// Promote makes the replica's node the owner. What was written after the replica's snapshot is lost.
func Promote(replica Replica) Verdict {
	return Verdict{course: coursePromote, replica: replica.row.Place()}
}

// Freeze leaves it to an operator.
func Freeze(format string, arguments ...any) Verdict {
	return Verdict{course: courseFreeze, Reason: fmt.Sprintf(format, arguments...)}
}

// Because says why.
func (v Verdict) Because(format string, arguments ...any) Verdict {
	v.Reason = fmt.Sprintf(format, arguments...)
	return v
}

// IsFreeze is whether it is left to an operator.
func (v Verdict) IsFreeze() bool { return v.course == courseFreeze }

// Promotes is whether this replica becomes the volume.
func (v Verdict) Promotes(replica Replica) bool {
	return v.course == coursePromote && v.replica == replica.row.Place()
}

// Due is a snapshot or a backup that is due.
type Due struct {
	At time.Time
	// Lane is Snapshot, `replicate`, or the name of a repository.
	Lane  string
	Label string
}

// Copy is a snapshot or a backup that exists.
type Copy struct {
	Tag, Label string
	Taken      time.Time
	Bytes      uint64
}

// Droppable is a position in a list of copies, and why that copy may go.
type Droppable struct {
	Copy   int
	Reason string
}

// Code is the course as wit/codes.md numbers it, for the packages of the hooks.
func (v Verdict) Code() uint32 { return v.course }

// WaitMs is for the packages of the hooks.
func (v Verdict) WaitMs() uint32 {
	return uint32(min(max(v.wait.Milliseconds(), 0), math.MaxUint32))
}

// Replica is for the packages of the hooks.
func (v Verdict) Replica() (uint32, bool) { return v.replica, v.course == coursePromote }
