# SPDX-License-Identifier: Apache-2.0
"""What bench/run is made of: contenders, measurements, goals and reports."""
