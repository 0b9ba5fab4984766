# The doors of the project. Each recipe calls a script or a cargo command that works without `just` too.

tools := "e2e/tools"

# This list.
default:
    @just --list --unsorted

# Objects in, a real Envoy routing real requests out.
demo *args:
    e2e/demo {{args}}

# Every check and every test (or only some stages: `just test unit envoy`).
test *stages:
    e2e/test {{stages}}

# What continuous integration runs.
ci:
    .ci/run

# A Kubernetes of one node, of real parts: `up`, `down`, `status`, `kubeconfig`, `load-image`, `exec` (needs root).
cluster *args:
    e2e/cluster {{args}}

# Formatting and clippy.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings

# Formats the code.
fmt:
    cargo fmt --all

# Which module may name which other one.
layers:
    {{tools}}/layers

# Writes generated files.
gen:
    {{tools}}/gen

# Compares generated files with what the code generates.
gen-check:
    {{tools}}/gen --check

# Licences, banned and duplicate crates, sources (these fail), and advisories (these warn). The first time compiles cargo-deny.
deny:
    "$({{tools}}/fetch cargo-deny)" check bans licenses sources
    -"$({{tools}}/fetch cargo-deny)" check advisories

# Fuzzes an entry point with cargo-fuzz; `e2e/test` replays the corpora without it. (The coverage that it needs is an unstable
# option of the compiler, which a stable one takes only so. There is no unsafe code for a sanitizer to watch.)
fuzz target *args:
    PATH="$(dirname "$({{tools}}/fetch cargo-fuzz)"):$PATH" RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none --fuzz-dir e2e/fuzz {{target}} {{args}}

# Benchmarks of the pure parts, of commands on files (`offline`) and of the webhook (`admit`), then the goals with what the load
# generator measured; what takes longer than it may in validation or in commands fails (`--crowd`: with 5,000 and 10,000 clients too). No cluster is needed: each starts what it measures.
bench *args:
    cargo bench --locked --workspace --bench convert --bench translate --bench engine --bench cold --bench validate
    cargo test --locked --workspace --release --test validation large_objects
    programs="$({{tools}}/build --release)" && "$programs/offline" --strict --mizzen "$programs/mizzen" && "$programs/admit" --mizzen "$programs/mizzen" && "$programs/load" --mizzen "$programs/mizzen" --table {{args}}

# Changes everything for long, and fails when memory grows or a client lacks something in the end.
soak duration='20m' *args:
    programs="$({{tools}}/build --release)" && "$programs/load" --mizzen "$programs/mizzen" --soak {{duration}} {{args}}

# Rewrites the golden files with what the code gives now. Review the difference.
bless:
    MIZZEN_BLESS=1 cargo test --locked --workspace --test golden --test validation --test offline_validate --test offline_analyze
