//go:build wasip1

// Package abi is the border to the host: memory, and records as they lie in it. What it says of the contract in wit/ is
// written by hand, since the layout of a Go struct is that of a record, with pointers of 4 bytes; so that no generator, and
// no other module, is needed to build a policy.
//
// wit: 305f4e3881c1f10f
package abi

import (
	"strings"
	"unsafe"
)

// String is text in memory.
type String struct{ at, length uint32 }

// List is a list in memory.
type List[T any] struct{ at, length uint32 }

// Option is an optional value.
type Option[T any] struct {
	some  uint8
	value T
}

// Some is a value that is there.
func Some[T any](value T) Option[T] { return Option[T]{1, value} }

// Get gives the value, and whether there is one.
func (o Option[T]) Get() (T, bool) { return o.value, o.some != 0 }

// What the host was given a pointer to, or has written, stays here until the call is over: nothing of Go's points to it.
var held []any

// Done lets go of a call's memory.
func Done() {
	clear(held)
	held = held[:0]
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldLength, align, length uint32) unsafe.Pointer {
	if length == 0 {
		return unsafe.Add(nil, align)
	}
	words := make([]uint64, (length+7)/8) // aligned to 8, which is enough for every record
	at := unsafe.Pointer(unsafe.SliceData(words))
	if old != nil {
		copy(unsafe.Slice((*byte)(at), length), unsafe.Slice((*byte)(old), min(oldLength, length)))
	}
	held = append(held, words)
	return at
}

// Get copies the text.
func (s String) Get() string {
	return strings.Clone(unsafe.String((*byte)(unsafe.Add(nil, s.at)), s.length))
}

// Get gives the list where it is; the host does not touch it again.
func (l List[T]) Get() []T {
	return unsafe.Slice((*T)(unsafe.Add(nil, l.at)), l.length)
}

// Text gives text to the host.
func Text(text string) String {
	held = append(held, text)
	return String{address(unsafe.Pointer(unsafe.StringData(text))), uint32(len(text))}
}

// ListOf gives a list to the host.
func ListOf[T any](items []T) List[T] {
	held = append(held, items)
	return List[T]{address(unsafe.Pointer(unsafe.SliceData(items))), uint32(len(items))}
}

// Keep gives a record to the host.
func Keep[T any](record *T) unsafe.Pointer {
	held = append(held, record)
	return unsafe.Pointer(record)
}

func address(at unsafe.Pointer) uint32 { return uint32(uintptr(at)) }

// StringAt is text that came as two arguments.
func StringAt(at, length uint32) String { return String{at, length} }

// ListAt is a list that came as two arguments.
func ListAt[T any](at, length uint32) List[T] { return List[T]{at, length} }
