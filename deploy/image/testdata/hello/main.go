// Command hello stands for a program of the image: static, with a module in it.
package main

import (
	"fmt"
	"os"

	"github.com/google/go-cmp/cmp"
)

func main() { fmt.Fprint(os.Stdout, cmp.Diff("hello", "")) }
