"""Files of certificates that cannot be used are a problem of /health until they can."""

import tls
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.edge.client.http import connect


def test_health_says_which_files_cannot_be_used(tmp_path):
    ca, own = tmp_path / "ca.pem", tmp_path / "own.pem"
    authority = tls.Certificate("Root", authority=True)
    login = tls.Certificate("client", by=authority).write(tmp_path)
    ca.write_bytes(authority.pem)
    own.write_bytes(login.read_bytes())
    more = (
        f"output.elasticsearch: {{hosts: ['https://127.0.0.1:1'], certificate: {own}, key: {own}}}"
    )
    stepped = SteppedShipper(
        tmp_path, simulator.Simulator(), "apptrana", into="more", more=more, ca_file=str(ca)
    ).start()
    shipper = stepped.shipper
    for connection in list(shipper.clients):  # as over the network, but nothing is sent
        shipper.clients[connection] = connect(connection)
    assert shipper.health() == (True, "ok")
    for path, name in ((ca, ""), (own, "output default: ")):
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        healthy, why = shipper.health()
        assert not healthy
        assert why.startswith(f"{name}the certificate {path}"), why
        path.write_bytes(whole)
        assert shipper.health() == (True, "ok")
    stepped.stop()
