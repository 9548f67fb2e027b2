package sqlstore_test

import (
	"os"
	"testing"

	"github.com/passmend/passmend/core/sqlstore/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
