import asyncio

import service


def test_requests_are_answered_beside_the_reports():
    asyncio.run(service.serve(requests=300))


def test_a_report_is_made():
    assert service.report()
