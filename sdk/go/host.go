//go:build wasip1

package flocker

import (
	"fmt"
	"unsafe"

	"flocker/internal/abi"
)

// Log writes a line to the node's log. A few per decision are kept, a flood is not.
func Log(format string, arguments ...any) {
	abi.Log(abi.LevelInfo, fmt.Sprintf(format, arguments...))
}

// Warn is Log for what an operator should look at.
func Warn(format string, arguments ...any) {
	abi.Log(abi.LevelWarn, fmt.Sprintf(format, arguments...))
}

// Count adds to a metric of the node's.
func Count(metric string, more uint64) { abi.Count(metric, more) }

//go:wasmexport flocker:plugin/lifecycle@0.1.0#describe
func describe() unsafe.Pointer {
	return abi.Keep(&abi.Info{
		Name:           abi.Text(info.Name),
		Version:        abi.Text(info.Version),
		SettingsSchema: abi.Text(info.Schema),
	})
}

//go:wasmexport cabi_post_flocker:plugin/lifecycle@0.1.0#describe
func describeDone(unsafe.Pointer) { abi.Done() }

//go:wasmexport flocker:plugin/lifecycle@0.1.0#configure
func configureFromHost(at, length uint32) unsafe.Pointer {
	result := new(abi.Result[struct{ _ uint32 }])
	if err := configure([]byte(abi.StringAt(at, length).Get())); err != nil {
		// 1 is "the settings are not understood" in wit/codes.md.
		result.Fail(1, err.Error())
	}
	return abi.Keep(result)
}

//go:wasmexport cabi_post_flocker:plugin/lifecycle@0.1.0#configure
func configureDone(unsafe.Pointer) { abi.Done() }
