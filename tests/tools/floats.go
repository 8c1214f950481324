// SPDX-License-Identifier: Apache-2.0

// Prints the float32 values of a vector, one a line.
package main

import (
	"encoding/binary"
	"math"
	"os"
	"strconv"
)

func main() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	for ; len(data) > 0; data = data[4:] {
		value := math.Float32frombits(binary.LittleEndian.Uint32(data))
		os.Stdout.WriteString(strconv.FormatFloat(float64(value), 'f', 3, 32) + "\n")
	}
}
