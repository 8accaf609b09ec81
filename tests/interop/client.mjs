// node client.mjs CLIENT.json MPXN: another program's OAuth client at our token endpoint.
import { readFile } from 'node:fs/promises'
import * as oauth from 'oauth4webapi'
import { loopback, read } from './ask.mjs'

const [file, mpxn] = process.argv.slice(2)
const said = JSON.parse(await readFile(file, 'utf8'))
const { kid, ...jwk } = said.key
const issuer = new URL(said.issuer)
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loopback })
const as = await oauth.processDiscoveryResponse(issuer, found)
const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign'])
const client = { client_id: said.client_id }
const proven = () => oauth.PrivateKeyJwt({ key, kid })
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const asked = await oauth.clientCredentialsGrantRequest(
  as, client, proven(), new URLSearchParams(), { DPoP, ...loopback })
const token = await oauth.processClientCredentialsResponse(as, client, asked)

let seen
const noting = (url, options) => {
  seen = new Request(url, { method: options.method, headers: options.headers })
  return fetch(url, options)
}
const answer = await read(said.issuer, mpxn, token.access_token,
  { DPoP, ...loopback, [oauth.customFetch]: noting })
// The same library as a resource server: token, signature, audience, binding and proof.
const claims = await oauth.validateJwtAccessToken(
  as, seen, `${said.issuer}/v1`, { requireDPoP: true, ...loopback })

await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, proven(), token.access_token, loopback))
// It throws where a 401 carries a challenge that it understands.
const after = await read(said.issuer, mpxn, token.access_token, { DPoP, ...loopback })
  .catch((error) => ({ status: error.status, challenges: error.cause }))
console.log(JSON.stringify({ token_type: token.token_type, answer, claims, after }))
