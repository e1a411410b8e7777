package workload

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Edge cases by type. Their output is the same on every supported version.
var (
	integers = pool("0", "1", "-1", "2147483647", "-2147483648", "42")
	bigints  = pool("0", "1", "-1", "9223372036854775807", "-9223372036854775808", "9007199254740993")
	smalls   = pool("0", "32767", "-32768", "7")
	booleans = pool("t", "f")
	doubles  = pool("NaN", "Infinity", "-Infinity", "-0", "0", "1e-300", "1.7976931348623157e+308", "0.1", "0.30000000000000004", "-5e-324", "1e15", "123456789.125")
	reals    = pool("NaN", "Infinity", "-Infinity", "-0", "1e-30", "3.4028235e+38", "0.1", "16777216")
	numerics = pool("NaN", "Infinity", "-Infinity", "0", "0.0", "-0", "1.1", "1.10", "123456789012345678901234567890.123456789", "1e-50", "-1e60", "0.000")
	prices   = pool("0", "1.5", "-999999999.999", "NaN", "12.340")
	days     = pool("2024-02-29", "4713-01-01 BC", "0044-03-15 BC", "5874897-12-31", "infinity", "-infinity", "0001-01-01", "1999-12-31", "10000-01-01")
	times    = pool("2024-02-29 23:59:59.999999", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity", "0001-01-01 00:00:00",
		"1582-10-10 12:00:00", "2000-01-01 00:00:00.000001", "10000-01-01 00:00:00")
	zoned  = pool("2024-02-29 23:59:59.999999+14", "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59+00", "infinity", "-infinity", "1970-01-01 00:00:00-03:30", "2024-03-31 01:30:00 Europe/Berlin")
	clocks = pool("00:00:00", "24:00:00", "23:59:59.999999", "12:00")
	spans  = pool("1 year -2 days +03:04:05.000001", "0", "-178000000 years", "1 mon", "-00:00:00.000001", "100000 hours", "3 days", "-1 mon +1 day -1 hour")
	docs   = pool(`{}`, `[]`, `"x"`, `""`, `1.50`, `true`, `{"a": 1, "b": [null, "x\"y", 1.50, true, {}], "c": {}}`, `[[[]], {"": ""}]`,
		`{"k": "\u00e9 😀 \\n \n \t", "a b": "it's"}`, `12345678901234567890.12345678901234567890`, `1e20`, `{"z": 1, "aa": 2, "b": 3}`, `[1, 2 ,3]`, `" sp  ace , : "`)
	blobs     = pool(`\x`, `\x00`, `\x00ff5c27`, `\xdeadbeef`, `\x0a0d09`, `\x5c783030`)
	uuids     = pool("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "0189f7ea-ae2c-7d3b-9f1e-000000000001")
	addresses = pool("::1/128", "10.0.0.0/8", "192.168.1.5/24", "192.168.1.5", "fe80::1/64", "0.0.0.0/0")
	intArrays = pool("{}", "{1,2,3}", "{NULL}", "[2:4]={1,NULL,3}", "{{1,2},{3,4}}", "[-1:0]={7,8}", "[1:1][-2:-1]={{5,6}}")
	textLists = pool(`{}`, `{"a\"b",NULL,"NULL","","\\N"}`, `[0:1]={"x, y","{}"}`, `{" ","\n","😀"}`, `{{a,b},{c,NULL}}`, `{null,"null"}`)
	ranges    = pool("[1,5)", "empty", "(,)", "[,3)", "(3,)", "[1,1]", "(-2147483648,2147483647)")
	numRanges = pool("empty", "[1.0,1.00]", "(,1e10)", "[-1.5,)", "(NaN,)", "[0,0.10)")
	moods     = pool("", "sad", "o'k", `Ha "ppy"`, "😀", "a,b")
	moodLists = pool(`{}`, `{sad,NULL,"o'k"}`, `{"","Ha \"ppy\"","a,b"}`, `[5:5]={😀}`)
	pairs     = pool(`(1,)`, `(,"")`, `(-5,"a,b")`, `(7,"x""y\\z")`, `(,)`, `(0,"(1,2)")`, "(3,\" \n\")")
	pairLists = pool(`{}`, `{"(1,x)",NULL,"(,)"}`, `{"(2,\"a,b\")"}`)
	fives     = pool("", "a", "abcde", " b", "é", "😀")
	varchars  = pool("", " ", "trailing  ", "ünïcödé", "'", "12345678901234567890")
)

// wideValues is in the order of the types in schema.sql.
var wideValues = []gen{integers, text, booleans, doubles, days, numerics, zoned}

func wideColumns() []column {
	out := []column{{name: "id"}}
	for i := 1; i < 200; i++ {
		out = append(out, column{name: "c" + strconv.Itoa(i), gen: either(2, wideValues[i%len(wideValues)])})
	}
	return out
}

func typesColumns() []column {
	out := []column{{name: "id"}}
	for _, c := range []struct {
		name string
		gen  gen
	}{
		{"mood", moods}, {"pos", number(1, 9)}, {"pair", pairs}, {"pairs", pairLists}, {"moods", moodLists}, {"ints", intArrays}, {"texts", textLists}, {"span", ranges},
		{"spans", numRanges}, {"num", numerics}, {"price", prices}, {"day", days}, {"at", times}, {"atz", zoned}, {"clock", clocks}, {"took", spans}, {"doc", docs}, {"raw", blobs},
		{"ok", booleans}, {"uid", uuids}, {"net", addresses}, {"c5", fives}, {"vc", varchars}, {"f8", doubles}, {"f4", reals}, {"i8", bigints}, {"i2", smalls},
	} {
		out = append(out, column{name: c.name, gen: either(6, c.gen)})
	}
	return out
}

// hot chooses an id from 1 to 200, the low ones far more often.
func hot(r *rand.Rand) int {
	u := r.Float64()
	return 1 + int(200*u*u*u)
}

// toastKey is a key of 2.1 to 2.3 kB that cannot be compressed, or one of 4 to 5.5 kB that comes down to hardly more: the row stores
// it apart, and the index just takes it. What can be compressed comes first, or PostgreSQL does not try for long.
func toastKey(id int) string {
	n := max(id, -id)
	k := fmt.Sprintf("%d:", id)
	if id%2 == 0 {
		k += strings.Repeat("compressible padding ", 90+n%60)
	}
	return k + noise(uint64(id), 2080+n%150)
}
