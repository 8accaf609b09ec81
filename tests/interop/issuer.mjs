// node issuer.mjs ISSUER SERVICE MPXN CERTIFICATE: a FAPI 2.0 issuer, and a client of it that asks us.
import { X509Certificate } from 'node:crypto'
import Provider from 'oidc-provider'
import * as oauth from 'oauth4webapi'
import { loopback, read } from './ask.mjs'

const [issuer, service, mpxn, certificate] = process.argv.slice(2)
const pair = async (algorithm) => {
  const made = await oauth.generateKeyPair(algorithm, { extractable: true })
  const jwk = (key) => crypto.subtle.exportKey('jwk', key)
  return { ...made, jwks: { private: await jwk(made.privateKey), public: await jwk(made.publicKey) } }
}
const signing = await pair('PS256')
const ours = await pair('ES256')
const about = {
  grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
  id_token_signed_response_alg: 'PS256',
  token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256',
  jwks: { keys: [{ ...ours.jwks.public, kid: 'mine', use: 'sig', alg: 'ES256' }] },
}
const provider = new Provider(issuer, {
  clients: [
    { ...about, client_id: 'by-proof', dpop_bound_access_tokens: true },
    { ...about, client_id: 'by-certificate', tls_client_certificate_bound_access_tokens: true },
  ],
  jwks: { keys: [{ ...signing.jwks.private, key_ops: undefined, kid: 'theirs', use: 'sig', alg: 'PS256' }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.get('x-certificate')
        && new X509Certificate(Buffer.from(ctx.get('x-certificate'), 'base64')),
    },
    fapi: { enabled: true, profile: '2.0' },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'reads', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: 300,
        jwt: { sign: { alg: 'PS256' } },
      }),
    },
  },
})
provider.on('server_error', (ctx, error) => console.error(error))
const server = provider.listen(Number(new URL(issuer).port), '127.0.0.1')
await new Promise((done) => server.once('listening', done))

const found = await oauth.discoveryRequest(new URL(issuer), loopback)
const as = await oauth.processDiscoveryResponse(new URL(issuer), found)
async function ask(name, options, headers) {
  const client = { client_id: name }
  const proven = oauth.PrivateKeyJwt({ key: ours.privateKey, kid: 'mine' })
  const asked = await oauth.clientCredentialsGrantRequest(
    as, client, proven, new URLSearchParams({ resource: `${service}/v1`, scope: 'reads' }),
    { ...options, ...loopback, headers: headers && new Headers({ 'x-certificate': certificate }) })
  const token = await oauth.processClientCredentialsResponse(as, client, asked)
  const answer = await read(service, mpxn, token.access_token, { ...options, ...loopback }, headers)
  return { token_type: token.token_type, answer }
}
const DPoP = oauth.DPoP({ client_id: 'by-proof' }, await oauth.generateKeyPair('ES256'))
const proof = await ask('by-proof', { DPoP })
const bound = await ask('by-certificate', {}, new Headers({ 'client-cert': `:${certificate}:` }))
console.log(JSON.stringify({ proof, certificate: bound }))
server.close()
server.closeAllConnections()
