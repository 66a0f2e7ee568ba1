# SPDX-License-Identifier: Apache-2.0
"""deploy/quickstart: a whole suite on one machine. __main__.py holds the order of the steps."""
