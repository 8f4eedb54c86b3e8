# README's two commands: `make demo` shows coracle at work, `make test` tests it.
# Both install what is missing, build, and drop from root to a user without rights.

PREFIX ?= /usr/local
DESTDIR ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
# .cargo/config.toml names the target, so that cargo builds beneath its name.
BUILT = $(TARGET)/$(shell rustc -vV | sed -n 's/^host: //p')/release
# One profile for all of it: dependencies are built once, and what is tested is
# what is installed.
CARGO := cargo

.PHONY: build demo test generated recording install uninstall deb clean

build:
	@tests/machine packages build
	$(CARGO) build --locked --release
	@mkdir -p $(TARGET)/release
	@ln -f $(BUILT)/coracle $(TARGET)/release/coracle

demo: build
	@tests/machine packages demo
	@tests/demo $(BUILT)/coracle

test: build
	@tests/machine packages test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --release --all-targets -- -D warnings
	@CARGO="$(CARGO)" tests/run $(BUILT)/coracle $(TESTS)

# man/ and completions/, written from the command table.
generated:
	UPDATE=1 $(CARGO) test --locked --test tests generated

# The picture in README, typed by a script.
recording: build
	@tests/machine packages demo
	@tests/record $(BUILT)/coracle >$(TARGET)/recording.svg
	@mv $(TARGET)/recording.svg tests/recording.svg

# Names under which it is found, too: `make install LINKS="podman docker"`.
LINKS ?=
ROOT = $(DESTDIR)$(PREFIX)
BASH = $(ROOT)/share/bash-completion/completions
ZSH = $(ROOT)/share/zsh/site-functions
FISH = $(ROOT)/share/fish/vendor_completions.d
MAN = $(ROOT)/share/man

install: build
	install -D -m 755 $(BUILT)/coracle $(ROOT)/bin/coracle
	install -d $(MAN)/man1 $(MAN)/man7
	install -m 644 man/*.1 $(MAN)/man1
	install -m 644 man/*.7 $(MAN)/man7
	install -D -m 644 completions/coracle.bash $(BASH)/coracle
	install -D -m 644 completions/_coracle $(ZSH)/_coracle
	install -D -m 644 completions/coracle.fish $(FISH)/coracle.fish
	for link in $(LINKS); do \
	    ln -sf coracle $(ROOT)/bin/$$link && \
	    ln -sf coracle $(BASH)/$$link && \
	    ln -sf coracle.fish $(FISH)/$$link.fish && \
	    printf '#compdef %s\n_coracle "$$@"\n' $$link >$(ZSH)/_$$link && \
	    echo '.so man1/coracle.1' >$(MAN)/man1/$$link.1 || exit; \
	done

# What install put there, and folders it leaves empty: not those that a machine has.
uninstall:
	for link in podman docker; do \
	    [ "$$(readlink $(ROOT)/bin/$$link)" = coracle ] || continue; \
	    rm -f $(ROOT)/bin/$$link $(BASH)/$$link $(FISH)/$$link.fish $(ZSH)/_$$link $(MAN)/man1/$$link.1; \
	done
	rm -f $(ROOT)/bin/coracle $(BASH)/coracle $(ZSH)/_coracle $(FISH)/coracle.fish
	for page in man/*.[17]; do rm -f "$(MAN)/man$${page##*.}/$${page##*/}"; done
	case $(ROOT) in /usr | /usr/local) ;; *) \
	    rmdir -p --ignore-fail-on-non-empty $(ROOT)/bin $(MAN)/man1 $(MAN)/man7 $(BASH) $(ZSH) $(FISH) 2>/dev/null; true ;; \
	esac

# target/debian/coracle_VERSION_ARCH.deb, by cargo-deb.
deb: build
	command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb
	$(CARGO) deb --no-build --no-strip --target $(notdir $(patsubst %/release,%,$(BUILT))) \
	    $(if $(DEBEMAIL),--maintainer "$(or $(DEBFULLNAME),$(DEBEMAIL)) <$(DEBEMAIL)>")

clean:
	$(CARGO) clean
