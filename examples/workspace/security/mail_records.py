"""Reads TXT records and says what is wrong with SPF and DMARC. The records are given, or those of the workspace's file."""

import logging
import re

from bifrost import UserError, param, workflow
from shared.tables import document

logger = logging.getLogger(__name__)

# RFC 7208 allows ten terms that make the receiver ask the DNS.
MAX_LOOKUPS = 10
_LOOKUP = re.compile(r"^[+?~-]?(include:|a(?=[:/]|$)|mx(?=[:/]|$)|ptr(?=:|$)|exists:)|^redirect=", re.IGNORECASE)


@workflow(category="Security", tags=["dns", "mail"], execution_mode="sync", is_tool=True, tool_description="Checks SPF and DMARC records")
@param("records", label="TXT records by domain", help_text='{"contoso.example": ["v=spf1 … -all"]}; those on file when it is left out')
def lint_mail_records(records: dict[str, list[str]] | None = None):
    """Check SPF and DMARC records for the usual mistakes."""
    if records is None:
        records = document("security/mail_records.json")
    findings = {}
    for domain, texts in records.items():
        if not re.fullmatch(r"[\w.-]+", domain):
            raise UserError(f"`{domain}` is not a domain.")
        problems = [*spf_problems(texts), *dmarc_problems(texts)]
        for problem in problems:
            logger.warning("%s: %s", domain, problem, extra={"domain": domain})
        findings[domain] = problems
    bad = [domain for domain, problems in findings.items() if problems]
    print(f"{len(findings) - len(bad)} of {len(findings)} domains are in order")
    return {"domains": len(findings), "in_order": len(findings) - len(bad), "findings": findings}


def spf_problems(texts: list[str]) -> list[str]:
    """What is wrong with the SPF record."""
    records = [text for text in texts if text.lower().split(" ")[0] == "v=spf1"]
    if not records:
        return ["there is no SPF record"]
    if len(records) > 1:
        return [f"there are {len(records)} SPF records; receivers take none of them"]
    terms = records[0].split()[1:]
    problems = []
    lookups = sum(bool(_LOOKUP.search(term)) for term in terms)
    if lookups > MAX_LOOKUPS:
        problems.append(f"SPF needs {lookups} look-ups, {MAX_LOOKUPS} are allowed")
    last = terms[-1].lower() if terms else ""
    if last in ("+all", "all", "?all"):
        problems.append(f"SPF ends in `{last}`: everybody may send")
    elif last not in ("-all", "~all") and not last.startswith("redirect="):
        problems.append("SPF does not end in `-all` or `~all`")
    return problems


def dmarc_problems(texts: list[str]) -> list[str]:
    """What is wrong with the DMARC record."""
    records = [text for text in texts if text.lower().startswith("v=dmarc1")]
    if not records:
        return ["there is no DMARC record"]
    tags = dict(part.strip().partition("=")[::2] for part in records[0].split(";") if "=" in part)
    problems = []
    if tags.get("p", "none").lower() == "none":
        problems.append("DMARC has the policy `none`: nothing is refused")
    if "rua" not in tags:
        problems.append("DMARC has no `rua`: nobody gets the reports")
    return problems
