# SPDX-License-Identifier: Apache-2.0
# Copyright the pabal authors
# The door to the build; the work is done by meson and the scripts in tools/ and tests/.

all:
	@tools/build.sh build

clean:
	rm -rf build build-clang build-asan build-tsan build-fuzz

.PHONY: all clean
