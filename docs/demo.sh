#!/bin/sh
# What `make demo` runs: real questions over these documents through the whole path, without a key, a network or a model.
# Usage: sh docs/demo.sh PATH_OF_AI
# Needs nothing but that program; everything it writes goes into ./.demo, made anew each time.
set -eu

# A program on the PATH, or a path, made absolute: the folder may change.
ai=$(command -v "${1:-ai}") || { echo "demo: there is no program '${1:-ai}'" >&2; exit 2; }
case $ai in /*) ;; *) ai=$PWD/$ai ;; esac
cd "$(dirname "$0")/.."

rm -rf .demo
mkdir -m 700 .demo
PAIOS_HOME=$PWD/.demo
export PAIOS_HOME

# Whoever is logged in to Claude or Codex must not pay for a demo: the questions go to the librarian alone.
cat > .demo/paios.toml <<END
[brains.claude]
enabled = false
[brains.codex]
enabled = false
[brains.gateway]
enabled = false
[brains.librarian]
folders = ["$PWD/README.md", "$PWD/docs"]
END
chmod 600 .demo/paios.toml

say() {
    printf '\n%s\n' "$*"
}

# Shows a command as it would be typed, then runs it. Its exit code must be 0.
try() {
    printf '\n$ ai'
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./=-]*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$ai" "$@" </dev/null
}

say "PAIOS answers here from its own documents. No model, no key, no network: the librarian quotes, word for word."

try "in which folder does PAIOS keep everything?"
try "does PAIOS have a bypass mode for permissions?"
try "في أي مجلد يحفظ البرنامج البيانات؟"
try "كم يكلف النموذج المحلي؟"

say "A question that these documents cannot answer gets an honest no:"
try "how high is Mount Everest?"

say "What happened in that request, and why this brain took it:"
try trace last

say "What all of it cost:"
try usage

say "Which brains this machine has, with everything switched on:"
rm .demo/paios.toml
printf '\n$ ai brains\n'
# 4 says that only the librarian can answer, which is no fault of the demo.
"$ai" brains </dev/null || [ $? -eq 4 ]
say "What drives Claude Code, Codex and model APIs comes with \`make install\`; the demo does without, to be small."

cat <<'END'

To put a real brain behind `ai`:

  Claude Code     install it, run `claude` and log in        (your Claude subscription)
  Codex           install it, run `codex login`              (your ChatGPT subscription)
  a model API     export ANTHROPIC_API_KEY=…                 (or OPENAI_, GEMINI_, OPENROUTER_API_KEY)
  a local model   start Ollama, LM Studio or llama.cpp       (found by itself, costs nothing)

Then `make install`, open a new terminal, and type: ai doctor
The first ten minutes: docs/tutorial.md, in Arabic: docs/ar/start.md
END
