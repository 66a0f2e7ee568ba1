-- SPDX-License-Identifier: Apache-2.0
-- Officers see what they sign: the octets (a TBSCertificate, a TBSCertList) that an action's tbs-sha256 is the digest of.
ALTER TABLE actions ADD COLUMN content bytea;
