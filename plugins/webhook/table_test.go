package webhook

import "net/netip"

// closedAddresses lie in every network that must not be reached, at its ends and
// in between, and in every form in which an IPv4 address hides in IPv6.
var closedAddresses = []string{
	"0.0.0.0", "0.0.0.1", "0.1.2.3", "0.255.255.255",
	"10.0.0.0", "10.0.0.1", "10.96.0.1", "10.255.255.255",
	"100.64.0.0", "100.64.0.1", "100.100.100.200", "100.127.255.255",
	"127.0.0.0", "127.0.0.1", "127.0.0.53", "127.1.2.3", "127.255.255.255",
	"169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255",
	"172.16.0.0", "172.17.0.1", "172.31.255.255",
	"192.0.0.0", "192.0.0.1", "192.0.0.192", "192.0.0.255",
	"192.0.2.0", "192.0.2.255",
	"192.88.99.0", "192.88.99.255",
	"192.168.0.0", "192.168.1.1", "192.168.255.255",
	"198.18.0.0", "198.19.255.255",
	"198.51.100.0", "198.51.100.255",
	"203.0.113.0", "203.0.113.255",
	"224.0.0.0", "224.0.0.1", "239.255.255.255",
	"240.0.0.0", "240.0.0.1", "255.255.255.254", "255.255.255.255",
	// IPv6 outside its public part.
	"::", "::1", "::2", "::127.0.0.1", "::10.0.0.1", "::ffff:0:127.0.0.1",
	"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::1", "64:ff9b:1::7f00:1",
	"100::1", "100:0:0:1::1", "1fff:ffff::1", "4000::1", "5f00::1",
	"fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff::1",
	"fe80::1", "febf::1", "fec0::1", "feff::1", "ff00::1", "ff02::1", "ff0e::1",
	// Closed inside the public part.
	"2001::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1",
	"2001:db8::1", "2001:db8:ffff::1",
	"2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
	"3fff::1", "3fff:fff::1",
	// IPv4 as IPv6.
	"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.0.1", "::ffff:0.0.0.0", "::ffff:100.64.0.1",
}

// openAddresses are public, most of them next to a closed network.
var openAddresses = []string{
	"1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0",
	"192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
	"198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "::ffff:8.8.8.8",
	"2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111",
	"3ffe::1", "3fff:1000::1",
}

// closedURLs are never connected to under settings that open no network. The
// port PORT is one that the operator added.
var closedURLs = []string{
	// Addresses as they are, and as some resolvers read them.
	"https://127.0.0.1:PORT/", "https://127.0.0.1:PORT", "https://127.1:PORT/", "https://127.0.1:PORT/", "https://0:PORT/",
	"https://2130706433:PORT/", "https://017700000001:PORT/", "https://0x7f000001:PORT/", "https://0x7f.1:PORT/",
	"https://0x7f.0.0.1:PORT/", "https://0177.0.0.1:PORT/", "https://127.0.0.01:PORT/", "https://127.0.0.1.:PORT/",
	"https://0x7f.0x0.0x0.0x1:PORT/", "https://0177.0.0x0.1:PORT/", "https://1.2.3.4.5:PORT/", "https://256.256.256.256:PORT/",
	"https://[::1]:PORT/", "https://[::ffff:127.0.0.1]:PORT/", "https://[::ffff:7f00:1]:PORT/", "https://[::127.0.0.1]:PORT/",
	"https://[0:0:0:0:0:0:0:1]:PORT/", "https://[::]:PORT/", "https://[64:ff9b::7f00:1]:PORT/", "https://[2002:7f00:1::]:PORT/",
	"https://[2001:0:7f00:1::]:PORT/", "https://[fe80::1%25lo]:PORT/", "https://[::1%25lo]:PORT/", "https://[v1.a]:PORT/",
	"https://169.254.169.254/latest/meta-data/", "https://8.8.8.8/", "https://[2606:4700::1111]/",
	"https://①②⑦.⓪.⓪.①:PORT/", "https://127。0。0。1:PORT/", "https://%31%32%37.0.0.1:PORT/",
	// Names.
	"https://localhost:PORT/", "https://LOCALHOST:PORT/", "https://localhost.:PORT/", "https://a.localhost:PORT/",
	"https://ip6-localhost:PORT/", "https://hooks:PORT/", "https://hooks.example.com.:PORT/", "https://a.local/", "https://A.LOCAL/",
	"https://metadata.google.internal/", "https://kubernetes.default.svc/", "https://kubernetes.default.svc.cluster.local/",
	"https://1.0.0.127.in-addr.arpa/", "https://abcdefghijklmnop.onion/", "https://-a.example.com/", "https://a-.example.com/",
	"https://a..example.com/", "https://.example.com/", "https://a_b.example.com/", "https://exämple.com/", "https://a%00.example.com/",
	"https://example.com%2f.evil.example/", "https://example.c0m-/", "https://a.example.1/", "https://*.example.com/",
	// Parts of a URL.
	"http://hooks.example.com/", "http://hooks.example.com:PORT/", "HTTP://hooks.example.com/", "ftp://hooks.example.com/",
	"file:///etc/passwd", "gopher://127.0.0.1:PORT/", "unix:///run/x.sock", "//hooks.example.com/", "hooks.example.com", "", "https:", "https://",
	"https:///path", "https:hooks.example.com", "https://:PORT/", "https://ada@hooks.example.com/", "https://ada:key@hooks.example.com/",
	"https://@hooks.example.com/", "https://hooks.example.com@127.0.0.1:PORT/", "https://127.0.0.1:PORT@hooks.example.com/",
	"https://hooks.example.com/#", "https://hooks.example.com/#a", "https://hooks.example.com#@127.0.0.1:PORT/",
	"https://127.0.0.1:PORT\\@hooks.example.com/", "https://hooks.example.com\\.evil.example/", "https://hooks.example.com\r\n/",
	" https://hooks.example.com/", "https://hooks.example.com /", "https://hooks.example.com:22/", "https://hooks.example.com:25/",
	"https://hooks.example.com:80/", "https://hooks.example.com:0/", "https://hooks.example.com:65536/", "https://hooks.example.com:00443/",
	"https://hooks.example.com:1023/", "https://hooks.example.com:1024/", "https://hooks.example.com:/", "https://hooks.example.com:+443/",
	"https://hooks.example.com:443:443/", "https://[::1/", "https://::1/",
}

func addresses(texts []string) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs
}
