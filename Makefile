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

.PHONY: build demo test generated install uninstall clean

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

install: build
	install -D -m 755 $(BUILT)/coracle $(DESTDIR)$(PREFIX)/bin/coracle
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 644 man/*.7 $(DESTDIR)$(PREFIX)/share/man/man7
	install -D -m 644 completions/coracle.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/coracle
	install -D -m 644 completions/_coracle $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_coracle
	install -D -m 644 completions/coracle.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/coracle.fish

# What install put there; folders that were there before stay.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/coracle
	for page in man/*.[17]; do \
	    rm -f "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}"; \
	done
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/coracle
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_coracle
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/coracle.fish

clean:
	$(CARGO) clean
