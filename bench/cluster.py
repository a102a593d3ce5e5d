#!/usr/bin/env python3
"""What nodes that Redis joins cost: one node alone, then one, two and three on a Redis, on this machine.

    bench/cluster.py target/release/fanfare [--json FILE]

FANS (300), RATE (50 publishes a second) and SECONDS (10) may stand in the environment. Subscribers are spread over the nodes by HAProxy (TCP, not counted); everything is published to the first node at a fixed rate, far
below what the machine can do, so that processor time and bytes for each delivery are measured, and not the machine's end. Needs
redis-server and haproxy. Numbers are of processes (utime + stime of /proc), bytes are Redis' own counts.
"""
import argparse, json, os, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

HZ = os.sysconf("SC_CLK_TCK")
FANS, RATE, SECONDS = (int(os.environ.get(name, default)) for name, default in [("FANS", 300), ("RATE", 50), ("SECONDS", 10)])


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))


def wait(url, seconds=20):
    until = time.time() + seconds
    while True:
        try:
            return urllib.request.urlopen(url, timeout=1).status
        except OSError:
            if time.time() > until:
                raise
            time.sleep(0.05)


class Site:
    def __init__(self, binary, nodes, joined):
        self.binary, self.children, self.folder = binary, [], tempfile.mkdtemp(prefix="fanfare-cluster-")
        self.redis = port() if joined else None
        if joined:
            args = ["redis-server", "--port", str(self.redis), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
            self.redis_pid = self.start(args, {}).pid
            time.sleep(0.5)
        self.ports, self.pids = [], []
        for _ in range(nodes):
            at = port()
            env = {
                "FANFARE_LISTEN": f"127.0.0.1:{at}", "FANFARE_DATA_DIR": self.folder, "FANFARE_METRICS_LISTEN": "off",
                "FANFARE_APP_ID": "2001", "FANFARE_APP_KEY": "bench", "FANFARE_APP_SECRET": "bench-secret", "FANFARE_LOG": "warn",
                "FANFARE_WORKERS": "1",
            }
            if joined:
                env["FANFARE_REDIS_URL"] = f"redis://127.0.0.1:{self.redis}"
            self.pids.append(self.start([binary, "serve"], env).pid)
            self.ports.append(at)
            wait(f"http://127.0.0.1:{at}/readyz")
        self.door = port()
        config = os.path.join(self.folder, "haproxy.cfg")
        servers = "\n".join(f"  server n{n} 127.0.0.1:{at}" for n, at in enumerate(self.ports))
        with open(config, "w") as f:
            f.write(f"defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\nlisten all\n  bind 127.0.0.1:{self.door}\n  balance roundrobin\n{servers}\n")
        self.start(["haproxy", "-f", config, "-db"], {})
        wait(f"http://127.0.0.1:{self.door}/healthz")

    def start(self, args, env):
        child = subprocess.Popen(args, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def info(self):
        with socket.create_connection(("127.0.0.1", self.redis)) as s:
            s.sendall(b"INFO\r\n")
            head = b""
            while not head.endswith(b"\r\n"):
                head += s.recv(1)
            left, text = int(head[1:]), b""
            while len(text) < left:
                text += s.recv(65536)
        return {k: v for k, v in (line.split(":", 1) for line in text.decode().splitlines() if ":" in line)}

    def bench(self, *args):
        base = [self.binary, "bench", *args, "--url", f"ws://127.0.0.1:{self.door}", "--http-url", f"http://127.0.0.1:{self.ports[0]}",
                "--app-id", "2001", "--key", "bench", "--secret", "bench-secret", "--json"]
        done = subprocess.run(base, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(args)}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout.strip().splitlines()[-1])

    def stop(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGKILL)
            child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def measure(binary, nodes, joined):
    site = Site(binary, nodes, joined)
    try:
        counts = ["total_net_input_bytes", "total_net_output_bytes"]
        before = [cpu(pid) for pid in site.pids]
        redis = (cpu(site.redis_pid), [int(site.info()[name]) for name in counts]) if joined else None
        out = site.bench("fanout", "-n", str(FANS), "--rate", str(RATE), "--secs", str(SECONDS), "--warmup", "1", "-w", "1000")
        used = [cpu(pid) - was for pid, was in zip(site.pids, before)]
        publishes = RATE * (SECONDS + 1)
        row = {"nodes": nodes, "redis": joined, "fans": FANS, "rate": RATE, "publishes": publishes,
               "cpu_us_per_delivery": sum(used) / (publishes * FANS) * 1e6, "cpu_s_by_node": used,
               "rss_bytes": [rss(pid) for pid in site.pids], "bench": out}
        if joined:
            now = [int(site.info()[name]) for name in counts]
            row["redis_cpu_us_per_publish"] = (cpu(site.redis_pid) - redis[0]) / publishes * 1e6
            row["redis_bytes_in_per_publish"], row["redis_bytes_out_per_publish"] = [(a - b) / publishes for a, b in zip(now, redis[1])]
        return row
    finally:
        site.stop()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("binary")
    options.add_argument("--json")
    options = options.parse_args()
    rows = [measure(options.binary, n, joined) for n, joined in [(1, False), (1, True), (2, True), (3, True)]]
    for row in rows:
        redis = f"redis {row['redis_cpu_us_per_publish']:.0f} µs, {row['redis_bytes_in_per_publish']:.0f} in, {row['redis_bytes_out_per_publish']:.0f} out a publish" if row["redis"] else "no Redis"
        print(f"{row['nodes']} nodes: {row['cpu_us_per_delivery']:.2f} µs a delivery ({', '.join(f'{s:.2f} s' for s in row['cpu_s_by_node'])}); {redis}")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


main()
